"""What options and half types cost: fastxent beside itself."""

from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np
from benchmarks.problems import TOLERANCE, Problem, Shape, check_same
from benchmarks.rounds import ROUNDS, Call, quickest
from numpy.typing import NDArray

import fastxent
from fastxent import reference

Options = dict[str, Any]
FEW = "none", "label_smoothing", "soft targets"  # each is a kernel, which takes seconds to compile


def options(shape: Shape) -> dict[str, Options]:
    """One at a time; soft targets are one of them."""
    rng = np.random.default_rng(1)
    n_rows, n_classes = shape
    soft_targets = {"targets": rng.random(shape, np.float32)}
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
        "hess_out": {"hess_out": np.empty(shape, np.float32)},
        "soft targets": soft_targets,
        "soft targets, targets_grad_out": soft_targets | {"targets_grad_out": np.empty(shape, np.float32)},
    }


def times_of_options(
    shape: Shape, n_rounds: int = ROUNDS, names: Iterable[str] | None = None
) -> dict[str, float]:
    """Seconds of float32 loss and gradient in place, with each of these options, or each there is."""
    problem = Problem("cross_entropy_with_grad", shape)
    calls, given = {}, options(shape)
    for name in given if names is None else names:
        arguments = {"targets": problem.others[0]} | given[name]
        _check(problem.first, arguments)
        calls[name] = _in_place(problem, arguments)
    return quickest(calls, n_rounds)


def times_of_dtypes(shape: Shape, n_rounds: int = ROUNDS) -> dict[str, float]:
    calls = {}
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        problem = Problem("cross_entropy_with_grad", shape, dtype)
        problem.check()
        calls[dtype.__name__] = problem.calls()["fastxent"]
    return quickest(calls, n_rounds)


def _in_place(problem: Problem, arguments: Options) -> Call:
    buffer = problem.buffer
    return Call(
        lambda: fastxent.cross_entropy_with_grad(buffer, grad_out=buffer, **arguments), problem.refill
    )


def _check(logits: NDArray[Any], arguments: Options, n_rows: int = 4) -> None:
    """By a few rows: the reference takes a second for all."""

    def few() -> Options:  # with outputs of their own
        by_row = {k: v for k, v in arguments.items() if np.ndim(v) and len(v) == len(logits)}
        return arguments | {name: array[:n_rows].copy() for name, array in by_row.items()}

    ours, truth = few(), few()
    result = fastxent.cross_entropy_with_grad(logits[:n_rows], **ours)
    check_same(result, reference.cross_entropy_with_grad(logits[:n_rows], **truth), TOLERANCE[4])
    for name in ours:
        if name.endswith("_out"):
            check_same(ours[name], truth[name], TOLERANCE[4])
