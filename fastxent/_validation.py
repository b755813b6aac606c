"""Turns array-likes and options into checked ones, or raises a clear error before anything is written.

Nothing else in the package raises on user input.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import _dispatch

_FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_INT64 = np.dtype(np.int64)
_Arrays = Mapping[str, Any]
_NONE: _Arrays = {}


def check_cross_entropy(
    logits: NDArray[Any],
    targets: Any,
    axis: Any,
    ignore_index: Any,
    reduction: Any,
    normalizer: Any,
    loss_out: Any,
    lse_out: Any,
) -> tuple[NDArray[Any], NDArray[np.int64], int, float]:
    """Logits with the classes last, contiguous int64 targets, ignore_index, and the divisor.

    The divisor is that of the sum of the row losses, and of every gradient. `logits` come from
    `float_array`.
    """
    z = classes_last(logits, axis)
    shape = z.shape[:-1]
    index = _integer("ignore_index", ignore_index)
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"ignore_index must fit in 64 bits, got {index}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    y, n_kept = _checked_targets(targets, shape, z.shape[-1], index)
    if normalizer is not None:
        divisor = _normalizer(normalizer, reduction)
    else:
        divisor = float(n_kept or 1) if reduction == "mean" else 1.0
    if loss_out is not None:
        output("loss_out", loss_out, shape, z.dtype, {"logits": logits, "targets": targets})
    if lse_out is not None:
        others = {"logits": logits, "targets": targets, "loss_out": loss_out}
        output("lse_out", lse_out, shape, z.dtype, others)
    return z, y, index, divisor


def float_array(name: str, value: Any) -> NDArray[Any]:
    array = value if type(value) is np.ndarray else _as_array(name, value)
    if array.dtype not in _FLOAT_DTYPES:
        raise TypeError(f"{name} must be float32 or float64 in native byte order, got {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{name} must have at least one axis, the classes; got a scalar")
    return array


def classes_last(array: NDArray[Any], axis: Any) -> NDArray[Any]:
    if axis == -1:
        return array
    position = _integer("axis", axis)
    if not -array.ndim <= position < array.ndim:
        raise ValueError(f"axis must be from {-array.ndim} to {array.ndim - 1}, got {axis}")
    return np.moveaxis(array, position, -1)


def output_like(name: str, out: Any, like: _Arrays, others: _Arrays = _NONE) -> NDArray[Any]:
    """Where results of the inputs' shape and dtype go: a new array, one of the inputs, or a checked array."""
    first = next(iter(like.values()))
    if out is None:
        return np.empty(first.shape, first.dtype)
    output(name, out, first.shape, first.dtype, others)
    for input_name, array in like.items():
        if _overlap(out, array) and not _same_elements(out, array):
            raise ValueError(f"{name} must be {input_name} itself or not overlap it in memory")
    return out


def output(name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], others: _Arrays) -> None:
    """Check that results can be written to the array, and that nothing of the others is lost by it."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, as the results are; got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    if 0 in array.strides and any(s == 0 and n > 1 for s, n in zip(array.strides, shape, strict=True)):
        raise ValueError(f"{name} must have an element of memory for each result, got a broadcast array")
    for other_name, other in others.items():
        if isinstance(other, np.ndarray) and _overlap(array, other):
            raise ValueError(f"{name} must not overlap {other_name} in memory")


def _as_array(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array, whose mask would be lost")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: {error}") from None


def _overlap(array: NDArray[Any], other: NDArray[Any]) -> bool:
    if array is other:
        return True
    both_own = array.flags.owndata and other.flags.owndata
    return not both_own and np.may_share_memory(array, other) and np.shares_memory(array, other)


def _same_elements(array: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether they are views of the same elements in the same order."""
    return array is other or (
        array.strides == other.strides
        and array.__array_interface__["data"][0] == other.__array_interface__["data"][0]
    )


def _integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def _normalizer(value: Any, reduction: str) -> float:
    if reduction != "mean":
        raise ValueError(f'normalizer divides the mean, so reduction must be "mean", got {reduction!r}')
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"normalizer must be a number, got {value!r}") from None
    if not 0 < number < math.inf:
        raise ValueError(f"normalizer must be positive and finite, got {value!r}")
    return number


def _checked_targets(
    targets: Any, shape: tuple[int, ...], n_classes: int, ignore_index: int
) -> tuple[NDArray[np.int64], int]:
    """The targets as contiguous int64, and how many are not ignored."""
    given = targets if type(targets) is np.ndarray else _as_array("targets", targets)
    if given.dtype.kind not in "iu":
        raise TypeError(f"targets must be integers, got {given.dtype}")
    if given.shape != shape:
        raise ValueError(
            f"targets must have shape {shape}, that of logits without its class axis; got {given.shape}"
        )
    y = given
    if y.dtype.kind == "u" and y.itemsize == 8:
        # What int64 cannot hold is out of range anyway, and must not wrap to a valid class.
        y = np.minimum(y, np.iinfo(np.int64).max)
    if y.dtype != _INT64:
        y = y.astype(np.int64)
    if not y.flags.c_contiguous:
        y = np.ascontiguousarray(y)
    n_kept, bad = _dispatch.count_kept(y, n_classes, ignore_index)
    if bad >= 0:
        _raise_bad_target(given, bad, n_classes, ignore_index)
    return y, n_kept


def _raise_bad_target(targets: NDArray[Any], bad: int, n_classes: int, ignore_index: int) -> NoReturn:
    position = ", ".join(str(i) for i in np.unravel_index(bad, targets.shape))
    place = f"targets[{position}]" if position else "targets"
    raise IndexError(
        f"{place} is {targets.flat[bad]}, expected a class from 0 to {n_classes - 1}"
        f" or ignore_index ({ignore_index})"
    )
