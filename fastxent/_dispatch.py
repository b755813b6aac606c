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


def cross_entropy(
    logits: NDArray[Any],
    targets: NDArray[np.int64],
    ignore_index: int,
    divisor: float,
    reduction: str,
    loss_out: NDArray[Any] | None,
    lse_out: NDArray[Any] | None,
    grad: NDArray[Any] | None,
) -> tuple[float | NDArray[Any], int]:
    """The loss, and the gradient in grad; with a bad target its index, −1 otherwise, and nothing written.

    Classes are last. A divisor of 0 stands for the number of rows kept.
    """
    few = logits.shape[-1] <= cpu.MAX_CLASSES
    kernel = cpu.cross_entropy_lanes if few else cpu.cross_entropy_rows
    loss: NDArray[Any] | None = None
    lse: NDArray[Any] | None = None
    if reduction == "none" or loss_out is not None:
        loss = np.empty(targets.shape, np.float64)
    if lse_out is not None:
        lse = np.empty(targets.shape, np.float64)
    if logits.ndim == 2:
        total, bad = kernel(_is_parallel(logits), logits, targets, ignore_index, divisor, loss, lse, grad)
    else:
        total, bad = _in_parts(kernel, logits, targets, ignore_index, divisor, loss, lse, grad)
    if bad >= 0:
        return 0.0, bad
    if lse_out is not None:
        lse_out[...] = lse
    if loss is not None and loss_out is not None:
        loss_out[...] = loss
        loss = loss_out
    if reduction == "none" and loss is not None:
        return loss.astype(logits.dtype, copy=False), -1
    return total, -1


def _in_parts(
    kernel: cpu.Kernel,
    logits: NDArray[Any],
    targets: NDArray[np.int64],
    ignore_index: int,
    divisor: float,
    loss: NDArray[np.float64] | None,
    lse: NDArray[np.float64] | None,
    grad: NDArray[Any] | None,
) -> tuple[float, int]:
    """As the kernel, for any number of axes; the total does not depend on how the rows are parted."""
    n_kept, bad = cpu.count_kept(False, targets.reshape(-1), logits.shape[-1], ignore_index)
    if bad >= 0:
        return 0.0, bad
    divisor = divisor or float(n_kept or 1)
    if loss is None:
        loss = np.empty(targets.shape, np.float64)
    for (z, g), (y, row_loss, row_lse) in _as_matrices((logits, grad), (targets, loss, lse)):
        kernel(_is_parallel(z), z, y, ignore_index, divisor, row_loss, row_lse, g)
    return cpu.total_of(False, loss.reshape(-1)) / divisor, -1


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
