"""Turns array-likes and options into checked ones, or raises a clear error before anything is written.

Nothing else in the package raises on user input.
"""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

_FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_INT64 = np.dtype(np.int64)


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

    The divisor is that of the sum of the row losses, and of every gradient; 0 stands for the number of
    rows kept. `logits` come from `float_array`.
    """
    z = classes_last(logits, axis)
    shape = z.shape[:-1]
    index = _integer("ignore_index", ignore_index)
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"ignore_index must fit in 64 bits, got {index}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    y = _int64_targets(targets, shape)
    if normalizer is not None:
        divisor = _normalizer(normalizer, reduction)
    else:
        divisor = 0.0 if reduction == "mean" else 1.0
    if loss_out is not None:
        output("loss_out", loss_out, shape, z.dtype, logits=logits, targets=targets)
    if lse_out is not None:
        output("lse_out", lse_out, shape, z.dtype, logits=logits, targets=targets, loss_out=loss_out)
    return z, y, index, divisor


def float_array(name: str, value: Any) -> NDArray[Any]:
    array = value if type(value) is np.ndarray else _as_array(name, value)
    if array.dtype not in _FLOAT_DTYPES:
        raise TypeError(f"{name} must be float32 or float64 in native byte order, got {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{name} must have at least one axis, the classes; got a scalar")
    return array


def classes_last(array: NDArray[Any], axis: Any) -> NDArray[Any]:
    position = _integer("axis", axis)
    if position == -1:
        return array
    if not -array.ndim <= position < array.ndim:
        raise ValueError(f"axis must be from {-array.ndim} to {array.ndim - 1}, got {axis}")
    return np.moveaxis(array, position, -1)


def output_like(name: str, out: Any, input_name: str, like: NDArray[Any]) -> NDArray[Any]:
    """Where results of an input's shape and dtype go: a new array, the input itself, or a checked array."""
    if out is None:
        return np.empty(like.shape, like.dtype)
    if out is like:
        _check_can_be_written(name, out)
        return like
    output(name, out, like.shape, like.dtype)
    check_same_or_apart(name, out, input_name, like)
    return out


def output(name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], **apart_from: Any) -> None:
    """Check that results of this shape and dtype can be written there, with no harm to other arrays."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain NumPy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, as the results are; got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    _check_can_be_written(name, array)
    for other_name, other in apart_from.items():
        check_apart(name, array, other_name, other)


def check_apart(name: str, array: NDArray[Any], other_name: str, other: Any) -> None:
    """Check that an output shares no memory with another argument, which may be no array at all."""
    if isinstance(other, np.ndarray) and _overlap(array, other):
        raise ValueError(f"{name} must not overlap {other_name} in memory")


def check_same_or_apart(name: str, array: NDArray[Any], other_name: str, other: NDArray[Any]) -> None:
    """Check that two arrays have exactly the same elements or none in common."""
    if not _overlap(array, other):
        return
    same_start = array.__array_interface__["data"][0] == other.__array_interface__["data"][0]
    if not (same_start and array.strides == other.strides):
        raise ValueError(f"{name} must be {other_name} itself or not overlap it in memory")


def _check_can_be_written(name: str, array: NDArray[Any]) -> None:
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    if array.base is not None and not array.flags.forc and _may_overlap_itself(array):
        raise ValueError(f"{name} must have memory of its own for every element, got strides {array.strides}")


def _may_overlap_itself(array: NDArray[Any]) -> bool:
    """Whether some axis, from the smallest stride up, steps less far than all before it reach."""
    reach = array.itemsize
    for stride, size in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return array.size > 0
        reach += stride * (size - 1)
    return False


def _as_array(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array, whose mask would be lost")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: {error}") from None


def _overlap(array: NDArray[Any], other: NDArray[Any]) -> bool:
    if array.base is None and other.base is None:  # each has memory of its own
        return array is other
    return np.may_share_memory(array, other) and np.shares_memory(array, other)


def _integer(name: str, value: Any) -> int:
    if type(value) is int:
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def _normalizer(value: Any, reduction: str) -> float:
    if reduction != "mean":
        raise ValueError(f'normalizer divides the mean, so reduction must be "mean", got {reduction!r}')
    if not isinstance(value, Real):
        raise TypeError(f"normalizer must be a real number, got {value!r}")
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"normalizer must be positive and finite, got {value!r}")
    return number


def _int64_targets(targets: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    y = targets if type(targets) is np.ndarray else _as_array("targets", targets)
    if y.shape != shape:
        raise ValueError(
            f"targets must have shape {shape}, that of logits without its class axis; got {y.shape}"
        )
    if y.dtype != _INT64:
        if y.dtype.kind not in "iu":
            raise TypeError(f"targets must be integers, got {y.dtype}")
        if y.dtype.kind == "u" and y.itemsize == 8:
            # What int64 cannot hold is out of range anyway, and must not wrap to a valid class.
            y = np.minimum(y, np.iinfo(np.int64).max)
        y = y.astype(np.int64)
    return y if y.flags.c_contiguous else np.ascontiguousarray(y)


def raise_bad_target(targets: Any, bad: int, n_classes: int, ignore_index: int) -> NoReturn:
    """For the target of this index, counted over all axes, that is neither a class nor ignored."""
    array = np.asarray(targets)
    position = ", ".join(str(i) for i in np.unravel_index(bad, array.shape))
    place = f"targets[{position}]" if position else "targets"
    raise IndexError(
        f"{place} is {array.flat[bad]}, expected a class from 0 to {n_classes - 1}"
        f" or ignore_index ({ignore_index})"
    )
