"""Checks arrays that results are to be written into: that they can be, with no harm to other arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.ma import MaskedArray
from numpy.typing import NDArray

from ._validation import as_array, is_half

_FLOAT32 = np.dtype(np.float32)


def output_like(name: str, out: Any, input_name: str, like: NDArray[Any]) -> NDArray[Any]:
    """Where results of an input's shape go: a new array, the input itself, or a checked array.

    They are of the input's dtype; those of a half type may also go to float32.
    """
    if out is None:
        return np.empty(like.shape, like.dtype)
    if out is like:
        _check_can_be_written(name, out)
        return like
    check_output(name, out, like.shape, dtype_for(out, like.dtype))
    check_same_or_apart(name, out, input_name, like)
    return out


def dtype_for(out: Any, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """That of results which go there: the input's, but float32 if one of a half type is to be stored so."""
    is_wider = isinstance(out, np.ndarray) and out.dtype == _FLOAT32 and is_half(dtype)
    return _FLOAT32 if is_wider else dtype


def check_output(
    name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], **apart_from: Any
) -> None:
    """Check that results of this shape and dtype can be written there, with no harm to other arrays."""
    if not isinstance(array, np.ndarray) or isinstance(array, MaskedArray):
        raise TypeError(f"{name} must be a plain NumPy array, got {type(array).__name__}")
    if array.dtype != dtype:
        wanted = f"{dtype} or float32" if is_half(dtype) else f"{dtype}, as the results are"
        raise TypeError(f"{name} must be {wanted}; got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    _check_can_be_written(name, array)
    for other_name, other in apart_from.items():
        check_apart(name, array, other_name, other)


def check_apart(name: str, array: NDArray[Any], other_name: str, other: Any) -> None:
    """Check that an output shares no memory with another argument, be it None or an array-like."""
    if not isinstance(other, np.ndarray):
        if other is None or isinstance(other, list | tuple):  # which has no memory, or is copied
            return
        other = as_array(other_name, other)
    if _overlap(array, other):
        raise ValueError(f"{name} must not overlap {other_name} in memory")


def check_same_or_apart(name: str, array: NDArray[Any], other_name: str, other: NDArray[Any]) -> None:
    """Check that two arrays have exactly the same elements or none in common."""
    if not _overlap(array, other):
        return
    same_dtype = array.dtype == other.dtype
    same_start = array.__array_interface__["data"][0] == other.__array_interface__["data"][0]
    steps = zip(array.shape, array.strides, other.strides, strict=True)
    same_steps = all(size == 1 or stride == other_stride for size, stride, other_stride in steps)
    if not (same_dtype and same_start and same_steps):
        raise ValueError(f"{name} must be {other_name} itself or not overlap it in memory")


def _check_can_be_written(name: str, array: NDArray[Any]) -> None:
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    if not array.flags.forc and _may_overlap_itself(array):
        raise ValueError(f"{name} must have memory of its own for every element, got strides {array.strides}")


def _may_overlap_itself(array: NDArray[Any]) -> bool:
    """Whether some axis, from the smallest stride up, steps less far than all before it reach."""
    reach = array.itemsize
    for stride, size in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach += stride * (size - 1)
    return False


def _overlap(array: NDArray[Any], other: NDArray[Any]) -> bool:
    if array.flags.owndata and other.flags.owndata:
        return array is other
    return np.may_share_memory(array, other) and np.shares_memory(array, other)
