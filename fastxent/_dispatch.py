"""Takes checked arguments to the kernel for them: serial or parallel, for few classes, some or many."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import cpu
from ._axes import merged, with_fewest_axes
from ._validation import row_dtype

PARALLEL_FROM = 32768
"""Elements from which threads gain more than they take to wake (10 µs of work against about 2 µs)."""

SPLIT_FROM = 65536
"""Classes from which threads gain by sharing out each row (20 µs of work against twice about 2 µs)."""

TOO_LARGE_FOR_SHORT_ROWS = 2**24
"""Bytes of an output elsewhere, from which to be stored past the caches as longer rows are gains more."""

_LANES = 16
"""Of float32; so many rows fill them."""

_MOST_CLASSES_APART = 800
"""Classes up to which rows go one a lane that are no neighbours either."""

_MOST_CLASSES_IN_LANES = 2**24  # they are told apart as float32


class _Kernels(NamedTuple):
    """One function by several ways."""

    lanes: cpu.Kernel
    long_tiles: cpu.Kernel
    short: cpu.Kernel
    split: cpu.Kernel
    columns: cpu.Kernel
    rows: cpu.Kernel


_CROSS_ENTROPY = _Kernels(
    cpu.cross_entropy_lanes,
    cpu.cross_entropy_long_tiles,
    cpu.cross_entropy_short,
    cpu.cross_entropy_split,
    cpu.cross_entropy_columns,
    cpu.cross_entropy_rows,
)
_SOFTMAX = _Kernels(
    cpu.softmax_lanes,
    cpu.softmax_lanes,
    cpu.softmax_short,
    cpu.softmax_split,
    cpu.softmax_columns,
    cpu.softmax_rows,
)
_LOGSUMEXP = _Kernels(
    cpu.logsumexp_lanes,
    cpu.logsumexp_lanes,
    cpu.logsumexp_short,
    cpu.logsumexp_split,
    cpu.logsumexp_columns,
    cpu.logsumexp_rows,
)


def cross_entropy(
    logits: NDArray[Any],
    targets: NDArray[np.int64] | None,
    ignore_index: int,
    divisor: float,
    options: cpu.Options,
    loss: NDArray[np.float64] | None,
    lse: NDArray[np.float64] | None,
    grad: NDArray[Any] | None,
) -> tuple[float, int]:
    """The loss, and what is asked for in the arrays; with a bad target its index, −1 otherwise.

    Classes are last. Nothing is written if a target is bad. A divisor of 0 stands for that of the mean.
    """
    if logits.ndim != 2:
        logits, grad, options = with_fewest_axes(logits, grad, options)
        targets, loss, lse = _flat(targets), _flat(loss), _flat(lse)
    n_threads = _n_threads_for(logits)
    outputs = grad, options.hess, options.targets_grad
    kernel = _kernel_of(_CROSS_ENTROPY, n_threads, logits, options.soft_targets, *outputs)
    variant = (
        n_threads > 1,
        logits.ndim,
        logits.dtype.num,
        loss is None,
        lse is None,
        None if grad is None else grad.dtype.num,
        None if options is cpu.PLAIN else _kinds(options),
    )
    arguments = n_threads, logits, targets, ignore_index, divisor, options, loss, lse, grad
    return kernel(variant, *arguments)


def plain_cross_entropy(
    logits: NDArray[Any], targets: NDArray[np.int64], ignore_index: int, grad: NDArray[Any] | None
) -> tuple[float, int]:
    """The mean of `cross_entropy` for a contiguous matrix without options; small batches feel every step."""
    n_threads = 1 if logits.size < PARALLEL_FROM else _n_threads_for(logits)
    if logits.shape[1] <= cpu.FEW_CLASSES:
        kernel = cpu.cross_entropy_lanes if logits.size < PARALLEL_FROM else cpu.cross_entropy_long_tiles
    elif logits.shape[1] <= cpu.MOST_THROUGH_CACHES or _is_short(logits, grad):
        kernel = cpu.cross_entropy_short
    else:
        kernel = cpu.cross_entropy_split if _is_split(n_threads, logits) else cpu.cross_entropy_rows
    variant = (n_threads > 1, logits.dtype.num, grad is None)  # shorter than any of `cross_entropy`
    arguments = n_threads, logits, targets, ignore_index, 0.0, cpu.PLAIN, None, None, grad
    entry = kernel.entries.get(variant)  # as the kernel does itself, but with one call less
    return kernel(variant, *arguments) if entry is None else entry(*arguments)


def softmax(logits: NDArray[Any], out: NDArray[Any]) -> None:
    _activate(_SOFTMAX, *merged([logits, out]))


def log_softmax(logits: NDArray[Any], out: NDArray[Any]) -> None:
    z, result = merged([logits, out])
    _activate(_LOGSUMEXP, z, None, result)


def logsumexp(logits: NDArray[Any], out: NDArray[Any]) -> None:
    lse = np.empty(logits.shape[:-1], np.float64)
    _activate(_LOGSUMEXP, *merged([logits]), lse.reshape(-1), None)
    out[...] = rounded(lse, out.dtype)


def _activate(kernels: _Kernels, logits: NDArray[Any], *others: NDArray[Any] | None) -> None:
    n_threads = _n_threads_for(logits)
    _run(_kernel_of(kernels, n_threads, logits, None, others[-1]), n_threads, logits, *others)


def softmax_grad(probs: NDArray[Any], grad: NDArray[Any], out: NDArray[Any]) -> None:
    p, g, result = merged([probs, grad, out])
    kernel = cpu.softmax_grad_lanes if _are_for_lanes(p) else cpu.softmax_grad_rows
    _run(kernel, _n_threads_for(p), p, g, result)


def sigmoid(logits: NDArray[Any], out: NDArray[Any]) -> None:
    if logits.flags.f_contiguous and out.flags.f_contiguous:
        logits, out = logits.T, out.T
    z = np.ascontiguousarray(logits)
    contiguous = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    arrays = z.reshape(-1), np.asarray(contiguous).reshape(-1)
    cpu.sigmoid_blocks((_n_threads_for_elements(z) > 1, *_kinds(arrays)), *arrays)
    if contiguous is not out:
        out[...] = contiguous


def binary_cross_entropy(
    logits: NDArray[Any],
    targets: NDArray[Any],
    weight: NDArray[Any] | None,
    pos_weight: NDArray[Any] | None,
    label_smoothing: float,
    scale: float,
    loss: NDArray[Any] | None,
    grad: NDArray[Any] | None,
) -> tuple[float, int]:
    """The sum of the losses, and what is asked for in the arrays, as `cross_entropy`; scale is for grad.

    The weights are runs that repeat over the logits.
    """
    z, t = np.ascontiguousarray(logits).reshape(-1), np.ascontiguousarray(targets).reshape(-1)
    parallel = _n_threads_for_elements(z) > 1
    bad = cpu.first_bad_target_blocks((parallel, t.dtype.num), t)
    if bad >= 0:
        return 0.0, bad
    dtype = row_dtype(logits.dtype)
    w, pos_w = (None if run is None else cpu.cyclic(run, dtype) for run in (weight, pos_weight))
    outs = [a if a is None or a.flags.c_contiguous else np.empty(a.shape, a.dtype) for a in (loss, grad)]
    flat = (a if a is None else np.asarray(a).reshape(-1) for a in outs)  # a matrix would keep its axes
    arguments = (z, t, w, pos_w, label_smoothing, scale, *flat)
    total = cpu.binary_cross_entropy_blocks((parallel, *_kinds(arguments)), *arguments)
    for out, values in zip((loss, grad), outs, strict=True):
        if out is not None and out is not values:
            out[...] = values
    return total, -1


def log_loss(
    probs: NDArray[Any],
    targets: NDArray[np.int64] | None,
    ignore_index: int,
    divisor: float,
    options: cpu.Options,
    loss: NDArray[np.float64],
) -> tuple[float, int]:
    """As `cross_entropy`, from probabilities."""
    p, _, options = with_fewest_axes(probs, None, options)
    y = None if targets is None else targets.reshape(-1)
    n_threads = _n_threads_for(p)
    variant = (n_threads > 1, p.ndim, p.dtype.num, y is None, _kinds(options))
    if y is None and _are_for_lanes(p):
        return cpu.log_loss_lanes(variant, n_threads, p, divisor, options, loss.reshape(-1)), -1
    return cpu.log_loss_rows(variant, n_threads, p, y, ignore_index, divisor, options, loss.reshape(-1))


def entropy(probs: NDArray[Any], out: NDArray[Any]) -> None:
    """The log loss of probabilities that are their own targets."""
    values = np.empty(probs.shape[:-1], np.float64)
    log_loss(probs, None, 0, 1.0, cpu.Options(soft_targets=probs, label_smoothing=0.0), values)
    out[...] = rounded(values, out.dtype)


def rounded(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """In this dtype: infinite or 0 where it cannot hold them. To raise, as NumPy may be told, is too late."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype, copy=False)


def _kernel_of(
    kernels: _Kernels,
    n_threads: int,
    logits: NDArray[Any],
    soft_targets: NDArray[Any] | None,
    *outputs: NDArray[Any] | None,
) -> cpu.Kernel:
    """Of these, that for arrays of the logits' shape, or None in their place."""
    if logits.shape[-1] <= cpu.FEW_CLASSES:
        return kernels.lanes if logits.size < PARALLEL_FROM else kernels.long_tiles
    if _is_short(logits, *outputs) and _are_side_by_side(logits, soft_targets, *outputs):
        return kernels.short
    if _is_split(n_threads, logits, soft_targets, *outputs):
        return kernels.split
    return kernels.columns if go_one_a_lane(logits) else kernels.rows


def _run(kernel: cpu.Kernel, n_threads: int, *arrays: Any) -> None:
    """On arrays of which the first has all axes and any other may be None."""
    kernel((n_threads > 1, arrays[0].ndim, *_kinds(arrays)), n_threads, *arrays)


def _flat(rows: Any) -> Any:
    return None if rows is None else rows.reshape(-1)


def _kinds(arguments: Any) -> tuple[Any, ...]:
    return tuple(a if a is None else a.dtype.num if isinstance(a, np.ndarray) else type(a) for a in arguments)


def _n_threads_for_elements(array: NDArray[Any]) -> int:
    return cpu.number_of_threads() if array.size >= PARALLEL_FROM else 1


def _n_threads_for(logits: NDArray[Any]) -> int:
    size, n_classes = logits.size, logits.shape[-1]
    has_work = size >= PARALLEL_FROM and (size > n_classes or n_classes >= SPLIT_FROM)
    return cpu.number_of_threads() if has_work else 1


def _is_split(n_threads: int, logits: NDArray[Any], *others: NDArray[Any] | None) -> bool:
    """Whether threads share out each row: fewer rows than threads, many classes, all side by side."""
    n_classes = logits.shape[-1]
    are_few = n_classes >= SPLIT_FROM and logits.size < n_threads * n_classes
    return are_few and _are_side_by_side(logits, *others)


def _are_side_by_side(*arrays: NDArray[Any] | None) -> bool:
    """Whether the classes of a row are, in every array."""
    return all(a is None or a.strides[-1] == a.itemsize for a in arrays)


def _is_short(logits: NDArray[Any], *outputs: NDArray[Any] | None) -> bool:
    """Whether rows go a few at a time, if their classes lie side by side."""
    n_classes = logits.shape[-1]
    return n_classes <= cpu.MOST_THROUGH_CACHES or (
        n_classes <= cpu.SHORT_ROW and not any(is_for_memory(out, logits) for out in outputs)
    )


def is_for_memory(out: Any, logits: Any) -> bool:
    """Whether an output had better be stored past the caches, as it is by longer rows."""
    if out is None:
        return False
    return out.nbytes >= TOO_LARGE_FOR_SHORT_ROWS and out.ctypes.data != logits.ctypes.data


def go_one_a_lane(logits: NDArray[Any]) -> bool:
    """Whether rows of classes that lie apart do: if they fill the lanes and, with many, are neighbours."""
    row_stride, class_stride = logits.strides[-2:]
    n_classes, itemsize = logits.shape[-1], logits.itemsize
    if class_stride == itemsize or logits.size < _LANES * n_classes:
        return False
    are_neighbours = row_stride == itemsize and logits.shape[-2] >= _LANES
    return n_classes <= _MOST_CLASSES_APART or (are_neighbours and n_classes <= _MOST_CLASSES_IN_LANES)


def _are_for_lanes(probs: NDArray[Any]) -> bool:
    return probs.shape[-1] <= cpu.FEW_CLASSES_OF_PROBABILITIES or go_one_a_lane(probs)
