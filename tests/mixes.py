"""Mixes of options, and problems that use all of a mix: a kernel is compiled for each, so there are few."""

from typing import Any, NamedTuple

import numpy as np

from fastxent import reference
from tests.tolerances import OPTIONS_RELATIVE

LANES, SHORT, ROWS = 10, 148, 1100
"""Numbers of classes that go by the one engine and the others."""


class Mix(NamedTuple):
    options: dict[str, Any]
    weights: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()  # besides loss_out and lse_out
    soft: bool = False


ALL_WEIGHTS = ("weight", "sample_weight")
ALL_HARD = Mix(
    {"label_smoothing": 0.1, "focal_gamma": 1.5, "z_loss": 0.05, "softcap": 6.0, "logit_scale": 0.75},
    ALL_WEIGHTS,
    ("rank_out", "entropy_out"),
)
ALL_WITH_HESSIAN = Mix(
    {"label_smoothing": 0.1, "z_loss": 0.05, "logit_scale": 0.75},
    ALL_WEIGHTS,
    ("rank_out", "entropy_out", "hess_out"),
)
ALL_SOFT = Mix(
    {"label_smoothing": 0.1, "z_loss": 0.05, "softcap": 6.0, "logit_scale": 0.75},
    ALL_WEIGHTS,
    ("entropy_out", "targets_grad_out"),
    soft=True,
)
# No option but label_smoothing and soft targets is by itself; the others go with one that acts elsewhere,
# and every option is on in some mix and off in another.
MIXES = {
    "focal and weight": Mix({"focal_gamma": 2.0}, ("weight",), ("rank_out",)),
    "smoothing": Mix({"label_smoothing": 0.3}, outputs=("hess_out",)),
    "softcap and z_loss": Mix({"softcap": 4.0, "z_loss": 0.1}, ("sample_weight",), ("entropy_out",)),
    "all hard": ALL_HARD,
    "all with Hessian": ALL_WITH_HESSIAN,
    "soft": Mix({}, outputs=("entropy_out", "hess_out", "targets_grad_out"), soft=True),
    "all soft": ALL_SOFT,
}


def problem(mix, n_rows, n_classes, dtype=np.float64, spread=3.0, seed=0, masks=True):
    """Logits, targets and options; with masks, impossible classes of no mass, and NaN in rows not kept."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n_rows, n_classes))
    targets = rng.integers(0, n_classes, n_rows)
    soft = rng.uniform(0, 2 / n_classes, (n_rows, n_classes))
    options = dict(mix.options)
    no_class, rows = n_classes // 2, np.arange(n_rows)
    masked = masks & (rows % 3 == 1) & (n_classes > 1)
    if "weight" in mix.weights:
        options["weight"] = rng.uniform(0.2, 2, n_classes)
        options["weight"][no_class] = 0 if n_classes > 1 else 1
    elif "label_smoothing" in options:
        masked &= False
    else:
        soft[masked, no_class] = 0
        masked &= mix.soft | (targets != no_class)
    logits[masked, no_class] = -np.inf
    if "sample_weight" in mix.weights:
        options["sample_weight"] = np.where(rows % 4 == 3, 0, rng.uniform(0.2, 2, n_rows))
    if not mix.soft:
        targets[rows % 5 == 4] = -100
    if masks:
        unread = ~kept_rows(targets if not mix.soft else None, options, n_rows)
        logits[unread] = soft[unread] = np.nan
    return logits.astype(dtype), soft.astype(dtype) if mix.soft else targets, options


def kept_rows(targets, options, n_rows):
    """Those that are read; targets are None for soft ones."""
    kept = np.ones(n_rows, bool) if targets is None else targets != -100
    return kept & (options.get("sample_weight", np.ones(n_rows)) != 0)


def solve(module, mix, logits, targets, options, **more):
    """Everything that a mix has, by name; a mix always has the same outputs, so that nothing recompiles."""
    row_dtype = np.float32 if logits.dtype.itemsize == 2 else logits.dtype
    shape = np.moveaxis(logits, more.get("axis", -1), -1).shape[:-1]
    results = {
        "loss_out": np.full(shape, np.nan, row_dtype),
        "lse_out": np.full(shape, np.nan, row_dtype),
        "entropy_out": np.full(shape, np.nan, row_dtype),
        "rank_out": np.full(shape, -1),
        "hess_out": np.full(logits.shape, np.nan, logits.dtype),
        "targets_grad_out": np.full(logits.shape, np.nan, targets.dtype if mix.soft else float),
    }
    results = {name: out for name, out in results.items() if name in ("loss_out", "lse_out", *mix.outputs)}
    arguments = {**results, **options, **more}
    results |= {name: more[name] for name in results if name in more}
    loss, grad = module.cross_entropy_with_grad(logits, targets, **arguments)
    return {"loss": loss, "grad": grad, **results}


def true_results(mix, logits, targets, options, **more):
    """Those of the specification, in float64."""
    wide = targets.astype(np.float64) if mix.soft else targets
    return solve(reference, mix, logits.astype(np.float64), wide, options, **more)


def assert_close(results, truth, dtype, mix, logits, targets, options, relative=OPTIONS_RELATIVE):
    """Every result, to a tolerance of the terms that it is the sum of; ranks exactly."""
    relative = relative[np.dtype(dtype)]
    sizes = _sizes(mix, logits.astype(np.float64), targets, options, truth["lse_out"], dtype)
    for name, result in results.items():
        expected = truth[name]
        assert np.shape(result) == np.shape(expected), name
        if name == "rank_out":
            assert np.array_equal(result, expected)
            continue
        with np.errstate(invalid="ignore"):
            result, expected = np.asarray(result, np.float64), np.asarray(expected)
            error = np.abs(result - expected)
            allowed = relative * (sizes[name] + np.abs(np.where(np.isfinite(expected), expected, 0)))
        right = (error <= allowed) | (result == expected)
        assert np.all(right), f"{name}: {result[~right][:5]}, not {expected[~right][:5]}"


def _sizes(mix, logits, targets, options, lse, dtype):
    """What the terms of each result may come to, besides the result itself."""
    n_rows, n_classes = logits.shape
    u = options.get("logit_scale", 1.0) * np.where(np.isfinite(logits), logits, 0)
    if "softcap" in options:
        u = options["softcap"] * np.tanh(u / options["softcap"])
    exact = dtype != np.float64 and not {"softcap", "logit_scale"} & set(options)
    size = np.ones(n_rows) if exact else 1 + np.max(np.abs(u), axis=1, initial=0)
    s, w = options.get("sample_weight", np.ones(n_rows)), options.get("weight", np.ones(n_classes))
    e = options.get("label_smoothing", 0.0)
    slope = e / n_classes * w.sum() + 2 * options.get("z_loss", 0.0) * (1 + np.abs(lse))
    if mix.soft:
        mass = np.where(s > 0, np.nan_to_num(targets).astype(np.float64) @ w, 0)
        slope, divisor = slope + (1 - e) * mass, s.sum()
    else:
        kept = targets != -100
        weight = np.where(kept, w[np.where(kept, targets, 0)], 0)
        slope = slope + (1 - e) * weight * (1 + options.get("focal_gamma", 0.0))
        divisor = (s * weight).sum()
    slope = s * slope * size
    divisor = {"sum": 1, "none": 1}.get(options.get("reduction"), options.get("normalizer") or divisor or 1)
    scale = options.get("logit_scale", 1.0)
    none = options.get("reduction") == "none"
    return {
        "loss": slope if none else slope.sum() / divisor,
        "loss_out": slope,
        "lse_out": size,
        "entropy_out": size,
        "grad": slope[:, None] * scale / divisor,
        "hess_out": slope[:, None] * scale**2 / divisor,
        "targets_grad_out": s[:, None] * w * size[:, None] / divisor,
    }
