"""What options, dtypes and a class axis that is not the last cost: prints three tables.

All take turns on the same arrays in one process; a figure is the median over the rounds, and a ratio
that of the medians. Results are compared with the reference before anything is timed.

    python asv_benchmarks/options_cost.py
"""

from time import perf_counter

import ml_dtypes
import numpy as np
from benchmarks.problems import problem

import fastxent
from fastxent import reference

SHAPE = 512, 50257
FEW = slice(4)  # rows that the reference is asked for: it takes a second for all


def options():
    """One option at a time; soft targets are one of them."""
    rng = np.random.default_rng(1)
    n_rows, n_classes = SHAPE
    soft_targets = {"targets": rng.random(SHAPE, np.float32)}
    return {
        "none": {},
        "weight": {"weight": rng.random(n_classes)},
        "sample_weight": {"sample_weight": rng.random(n_rows) + 0.5},
        "label_smoothing": {"label_smoothing": 0.1},
        "focal_gamma": {"focal_gamma": 2.0},
        "z_loss": {"z_loss": 1e-4},
        "softcap": {"softcap": 30.0},
        "logit_scale": {"logit_scale": 0.7},
        "rank_out": {"rank_out": np.empty(n_rows, np.int64)},
        "entropy_out": {"entropy_out": np.empty(n_rows, np.float32)},
        "hess_out": {"hess_out": np.empty(SHAPE, np.float32)},
        "soft targets": soft_targets,
        "soft targets, targets_grad_out": soft_targets | {"targets_grad_out": np.empty(SHAPE, np.float32)},
    }


def rows_of(option):
    """The option for a FEW rows alone, with outputs of its own."""
    few = {}
    for name, value in option.items():
        is_by_row = isinstance(value, np.ndarray) and len(value) == SHAPE[0]
        few[name] = value[FEW].copy() if is_by_row else value
    return few


def check(logits, targets, option):
    few = {"targets": targets[FEW]} | rows_of(option)
    expected = rows_of(few)
    result = fastxent.cross_entropy_with_grad(logits[FEW], **few)
    truth = reference.cross_entropy_with_grad(logits[FEW].astype(np.float64), **expected)
    np.testing.assert_allclose(result[0], truth[0], rtol=1e-5)
    np.testing.assert_allclose(result[1], truth[1], rtol=1e-4, atol=1e-6 * np.max(np.abs(truth[1])))


def medians(calls, n_rounds=11):
    """Milliseconds of each call, by name; a call is a function and the preparation that is not timed."""
    times = {name: [] for name in calls}
    for i in range(n_rounds + 1):
        for name, (prepare, function) in calls.items():
            prepare()
            start = perf_counter()
            function()
            if i > 0:  # the first round compiles
                times[name].append((perf_counter() - start) * 1e3)
    return {name: np.median(t) for name, t in times.items()}


def in_place(buffer, logits, arguments):
    """What restores the buffer, and the call that overwrites it."""
    return (
        lambda: np.copyto(buffer, logits),
        lambda: fastxent.cross_entropy_with_grad(buffer, grad_out=buffer, **arguments),
    )


def print_table(title, times, base):
    print(f"| {title} | ms | times {base} |\n|---|--:|--:|")
    for name, time in times.items():
        print(f"| {name} | {time:.1f} | {time / times[base]:.2f} |")
    print(flush=True)


def main():
    logits, targets = problem(SHAPE, "float32")
    for option in options().values():
        check(logits, targets, option)
    buffer = logits.copy()
    calls = {
        name: in_place(buffer, logits, {"targets": targets} | option) for name, option in options().items()
    }
    print_table("512×50257 float32 in place", medians(calls), "none")

    halves = {t: logits.astype(t) for t in (np.float16, ml_dtypes.bfloat16)}
    calls = {"float32": in_place(buffer, logits, {"targets": targets})}
    for dtype, half in halves.items():
        check(half.astype(np.float32), targets, {})
        calls[np.dtype(dtype).name] = in_place(half.copy(), half, {"targets": targets})
    print_table("512×50257 in place", medians(calls), "float32")

    rng = np.random.default_rng(0)
    logits = rng.standard_normal((32, 81, 8732), np.float32) * 3
    targets = rng.integers(0, 81, (32, 8732))
    ours, truth = (m.cross_entropy_with_grad(logits, targets, axis=1) for m in (fastxent, reference))
    np.testing.assert_allclose(ours[1], truth[1], rtol=1e-4, atol=1e-10)
    naive = (lambda: None), (lambda: reference.cross_entropy_with_grad(logits, targets, axis=1))
    ours = in_place(logits.copy(), logits, {"targets": targets, "axis": 1})
    calls = {"fastxent": ours, "naive NumPy": naive}
    print_table("(32, 81, 8732), axis=1, float32", medians(calls, 7), "fastxent")


if __name__ == "__main__":
    main()
