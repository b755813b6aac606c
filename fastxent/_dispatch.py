"""Takes checked arguments to the kernel for them: serial or parallel, for few classes or many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from . import cpu

_Group = tuple[Any, ...]  # arrays that are worked on together, some of them None

PARALLEL_FROM = 32768
"""Elements from which threads gain more than they take to wake (10 µs of work against about 2 µs)."""


def count_kept(targets: NDArray[np.int64], n_classes: int, ignore_index: int) -> tuple[int, int]:
    return cpu.count_kept(False, targets.reshape(-1), n_classes, ignore_index)


def cross_entropy(
    logits: NDArray[Any],
    targets: NDArray[np.int64],
    ignore_index: int,
    divisor: float,
    reduction: str,
    loss_out: NDArray[Any] | None,
    lse_out: NDArray[Any] | None,
    grad: NDArray[Any] | None,
) -> float | NDArray[Any]:
    """The loss; with a grad, the gradient there. Classes are last in both."""
    loss = np.empty(targets.shape, np.float64)
    lse = None if lse_out is None else np.empty(targets.shape, np.float64)
    few = logits.shape[-1] <= cpu.MAX_CLASSES
    kernel = cpu.cross_entropy_lanes if few else cpu.cross_entropy_rows
    totals = [
        kernel(_is_parallel(z), z, y, ignore_index, 1.0 / divisor, row_loss, row_lse, g)
        for (z, g), (y, row_loss, row_lse) in _as_matrices((logits, grad), (targets, loss, lse))
    ]
    if lse_out is not None:
        lse_out[...] = lse
    if loss_out is not None:
        loss_out[...] = loss
    if reduction == "none":
        return loss.astype(logits.dtype) if loss_out is None else loss_out
    # The order of summation must not depend on how the rows were parted.
    total = totals[0] if len(totals) == 1 else cpu.total_of(False, loss.reshape(-1))
    return total / divisor


def softmax(logits: NDArray[Any], out: NDArray[Any]) -> None:
    for matrices, _ in _as_matrices((logits, out), ()):
        cpu.softmax_rows(_is_parallel(matrices[0]), *matrices)


def log_softmax(logits: NDArray[Any], out: NDArray[Any]) -> None:
    for (z, o), _ in _as_matrices((logits, out), ()):
        cpu.logsumexp_rows(_is_parallel(z), z, None, o)


def logsumexp(logits: NDArray[Any], out: NDArray[Any]) -> None:
    lse = np.empty(logits.shape[:-1], np.float64)
    for (z,), (row_lse,) in _as_matrices((logits,), (lse,)):
        cpu.logsumexp_rows(_is_parallel(z), z, row_lse, None)
    out[...] = lse


def softmax_grad(probs: NDArray[Any], grad: NDArray[Any], out: NDArray[Any]) -> None:
    for matrices, _ in _as_matrices((probs, grad, out), ()):
        cpu.softmax_grad_rows(_is_parallel(matrices[0]), *matrices)


def sigmoid(logits: NDArray[Any], out: NDArray[Any]) -> None:
    z = np.ascontiguousarray(logits)
    contiguous = out if out.flags.c_contiguous else np.empty_like(z)
    cpu.sigmoid_blocks(z.size >= PARALLEL_FROM, z.reshape(-1), contiguous.reshape(-1))
    if contiguous is not out:
        out[...] = contiguous


def _is_parallel(matrix: NDArray[Any]) -> bool:
    return matrix.size >= PARALLEL_FROM and len(matrix) > 1 and numba.get_num_threads() > 1


def _as_matrices(arrays: _Group, rows: _Group) -> Iterable[tuple[_Group, _Group]]:
    """The arrays as matrices of rows and classes, beside what goes with each row; None stays None.

    All are views. Where the leading axes of some array do not merge into one, the first is walked.
    """
    if arrays[0].ndim == 2:
        return ((arrays, rows),)
    if all(a is None or _merges(a) for a in arrays):
        return ((_each(_matrix, arrays), _each(np.ravel, rows)),)
    parts = (
        _as_matrices(_each(itemgetter(i), arrays), _each(itemgetter(i), rows)) for i in range(len(arrays[0]))
    )
    return chain.from_iterable(parts)


def _each(function: Callable[[Any], Any], group: _Group) -> _Group:
    return tuple(a if a is None else function(a) for a in group)


def _matrix(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _merges(array: NDArray[Any]) -> bool:
    """Whether the leading axes are one run of equally spaced rows."""
    if array.ndim <= 2 or array.size == 0:
        return True
    leading = zip(array.shape[:-1], array.strides[:-1], strict=True)
    axes = [(size, stride) for size, stride in leading if size > 1]
    return all(outer == size * inner for (_, outer), (size, inner) in pairwise(axes))
