"""Calls of every public function, with whatever arguments there are, as hypothesis draws them."""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.disguises import BAD, VALUES
from tests.hostile_arguments import HALVES, Drawn
from tests.mixes import MIXES


class Call(NamedTuple):
    function: str
    arguments: dict[str, Any]
    is_bad: bool  # and to be refused

    def __repr__(self):
        told = {
            name: f"{type(a).__name__} of {a.dtype} {a.shape}"
            if isinstance(a, np.ndarray) and a.size > 20
            else a
            for name, a in self.arguments.items()
        }
        return f"{self.function}({told})"


def _activation(d, name):
    first = "probs" if name == "softmax_grad" else "logits"
    d.logits(first)
    if name == "softmax_grad":
        another = np.float64 if d.dtype != np.float64 else np.float32
        hostile = BAD | {"another dtype": lambda g: g.astype(another), "another axis": lambda g: g[None]}
        d.disguised("grad", d.floats(d.shape, d.dtype), hostile)
        first = d.one_of([first, "grad"])
    if d.chance(2):
        if name == "logsumexp":
            d.out("out", d.rows, d.row_dtype)
        elif d.dtype in HALVES and d.chance(3):
            d.out("out", d.shape, np.float32)
        else:
            d.out("out", d.shape, d.dtype, first)


def _entropy(d, name):
    d.logits("probs", None)
    if d.chance(2):
        d.out("out", d.rows, d.row_dtype)


def _cross_entropy(d, name):
    with_grad = name.endswith("grad")
    has_options = (with_grad or d.limits.is_full) and not d.is_plain and d.chance(2)
    mix = MIXES[d.one_of(d.limits.mixes)] if has_options else None
    d.logits()
    if mix is not None and mix.soft:
        d.soft_targets()
    else:
        d.classes()
    d.reduction()
    if mix is not None:
        _options(d, mix, with_grad)
    elif d.chance(6):
        d.out("loss_out", d.rows, d.row_dtype)
    is_soft = mix is not None and mix.soft
    if (is_soft or with_grad) and d.goes_bad():
        _unsupported_mix(d, is_soft)
    if with_grad and d.chance(2):
        d.out("grad_out", d.shape, d.dtype, "logits")


def _options(d, mix, with_grad):
    for option in mix.options:
        d.option(option, *VALUES[option])
    for weight in mix.weights:
        d.weights(weight, (d.n_classes,) if weight == "weight" else d.rows)
    for out in ("loss_out", "lse_out", *mix.outputs):
        if out not in ("hess_out", "targets_grad_out"):
            d.out(out, d.rows, np.int64 if out == "rank_out" else d.row_dtype)
        elif with_grad:
            d.out(out, d.shape, d.dtype, "targets" if out == "targets_grad_out" else None)


def _unsupported_mix(d, is_soft):
    """Options that have no meaning beside the targets, or beside each other."""
    derivative = np.zeros(d.shape, d.dtype)
    for_soft = {"focal_gamma": 1.0}, {"rank_out": np.zeros(d.rows, np.int64)}, {"ignore_index": 0}
    for_classes = (
        {"targets_grad_out": derivative},
        {"hess_out": derivative, "softcap": 3.0},
        {"hess_out": derivative, "focal_gamma": 1},
    )
    d.arguments |= d.one_of(for_soft if is_soft else for_classes)


def _divergence(d, name):
    d.logits()
    d.soft_targets(or_classes=False)
    d.reduction()
    if d.limits.is_full and d.chance(2):
        d.weights("sample_weight", d.rows)
    if name.endswith("grad") and d.chance(2):
        d.out("grad_out", d.shape, d.dtype, "logits")


def _log_loss(d, name):
    d.logits("probs", None)
    if d.limits.is_full and d.chance(3):
        d.soft_targets()
        if d.goes_bad():
            d.arguments["ignore_index"] = 0
    else:
        d.classes()
    d.reduction()
    if d.limits.is_full and d.chance(2):
        d.weights("sample_weight", d.rows)


def _binary(d, name):
    d.logits(has_axis=False)
    dtype = d.one_of([d.dtype, bool, np.int64, np.uint8])
    y = np.asarray(d.rng.random(d.shape)).astype(d.dtype)
    hostile = {
        "masked": np.ma.array,
        "strings": lambda y: y.astype(float).astype(str),
        "foreign": lambda y: y.astype(float).astype(">f8"),
        "another axis": lambda y: y[None],
    }
    if y.size:
        place = np.arange(y.size).reshape(y.shape) == d.rng.integers(y.size)
        wrong = d.one_of([1.5, 2.0, -1.0, np.nan, np.inf])
        hostile["no fraction"] = lambda y: np.where(place, wrong, y.astype(d.dtype)).astype(d.dtype)
    d.disguised("targets", y if dtype == d.dtype else np.round(y).astype(dtype), hostile)
    d.option("label_smoothing", 0, 0.1, 1)
    if d.limits.is_full and d.chance(2):
        for weight in ("weight", "pos_weight"):
            d.weights(weight, d.one_of([d.shape, d.shape[-1:], ()]), broadcasts=True)
    d.reduction()
    if d.limits.is_full and d.chance(3):
        d.out("loss_out", d.shape, d.row_dtype)
    if name.endswith("grad") and d.chance(2):
        d.out("grad_out", d.shape, d.dtype, "logits")


_ACTIVATIONS = "softmax", "log_softmax", "logsumexp", "softmax_grad", "sigmoid"
FUNCTIONS = {
    **dict.fromkeys(_ACTIVATIONS, _activation),
    **dict.fromkeys(("cross_entropy", "cross_entropy_with_grad"), _cross_entropy),
    **dict.fromkeys(("kl_divergence", "kl_divergence_with_grad"), _divergence),
    **dict.fromkeys(("binary_cross_entropy", "binary_cross_entropy_with_grad"), _binary),
    "log_loss": _log_loss,
    "entropy": _entropy,
}
NAMES = [*sorted(FUNCTIONS), "cross_entropy", "cross_entropy_with_grad", "cross_entropy_with_grad"]


@st.composite
def calls(draw, limits):
    random = draw(st.randoms(use_true_random=True))  # seeded by hypothesis, and quicker than that by far
    d, name = Drawn(random, limits), random.choice(NAMES)
    FUNCTIONS[name](d, name)
    return Call(name, d.arguments, d.is_bad)
