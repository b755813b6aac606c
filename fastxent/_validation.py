"""Turns array-likes into checked ones, or raises a clear error before anything is written.

`_outputs` does so with arrays for results, and `_options` with options.
"""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any, NoReturn

import numpy as np
from numpy.ma import MaskedArray  # by itself: threads that use np.ma first at once fail in NumPy
from numpy.typing import NDArray

_FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_FLOAT32, _FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)
_INT64 = np.dtype(np.int64)

NO_CLASS_BEYOND = 2**63 - 1
"""What targets that int64 cannot hold become, and so no class, nor ignored."""

LEAST_NORMALIZER = 2.0**-126
"""One over it is a float32."""


def plain_targets(
    logits: Any, targets: Any, axis: Any, ignore_index: Any, grad_out: Any
) -> NDArray[np.int64] | None:
    """The targets as int64, if the arguments are what training loops pass; None if any is not.

    A contiguous matrix of float32 or float64, an integer target for each row, and for the gradient nothing,
    the logits, or an array like them. Only the targets' values then remain to be checked.
    """
    if (
        type(logits) is type(targets) is np.ndarray
        and type(axis) is type(ignore_index) is int
        and axis == -1
        and -(2**63) <= ignore_index < NO_CLASS_BEYOND
        and logits.ndim == 2
        and targets.ndim == 1
        and len(logits) == len(targets)
        and (targets.dtype is _INT64 or targets.dtype.kind in "iu")
        and logits.dtype in _FLOAT_DTYPES
        and logits.flags.carray
        and (
            grad_out is None
            or (
                (grad_out is logits or _is_plain_beside(grad_out, logits))
                and (
                    (grad_out.flags.owndata and targets.flags.owndata)
                    or not np.may_share_memory(grad_out, targets)
                )
            )
        )
    ):
        is_ready = targets.dtype is _INT64 and targets.flags.c_contiguous
        return targets if is_ready else contiguous_int64(targets)
    return None


def _is_plain_beside(out: Any, logits: NDArray[Any]) -> bool:
    return (
        type(out) is np.ndarray
        and out.dtype is logits.dtype
        and out.shape == logits.shape
        and out.flags.carray
        and ((out.flags.owndata and logits.flags.owndata) or not np.may_share_memory(out, logits))
    )


def check_reduction(reduction: Any, normalizer: Any) -> float:
    """The divisor of the sum of the row losses and of every gradient; 0 stands for that of the mean."""
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if normalizer is None:
        return 0.0 if reduction == "mean" else 1.0
    if reduction != "mean":
        raise ValueError(f'normalizer divides the mean, so reduction must be "mean", got {reduction!r}')
    number = real("normalizer", normalizer)
    if not LEAST_NORMALIZER <= number < math.inf:
        raise ValueError(f"normalizer must be finite and at least 2**-126, got {normalizer!r}")
    return number


def check_targets(
    targets: Any, logits: NDArray[Any], shape: tuple[int, ...], of: str = "logits"
) -> tuple[NDArray[np.int64] | None, NDArray[Any] | None]:
    """Integer targets of this shape as contiguous int64, and soft targets of the logits'; one is None."""
    y = targets if type(targets) is np.ndarray else as_array("targets", targets)
    if check_if_soft(y, logits, shape, of):
        return None, y
    return contiguous_int64(y), None


def check_if_soft(y: NDArray[Any], logits: NDArray[Any], shape: tuple[int, ...], of: str = "logits") -> bool:
    """Whether they are floats of the logits' shape, or integers of this one; else an error."""
    if y.dtype != _INT64 and is_float(y.dtype):
        if y.shape == logits.shape:
            return True
        if y.size == 0 and y.shape == shape:
            return False  # NumPy makes floats of an empty list
        raise ValueError(
            f"targets that are floats are probabilities, and must have the shape of {of},"
            f" {logits.shape}; got {y.shape}"
        )
    if y.dtype != _INT64 and y.dtype.kind not in "iu":
        raise TypeError(f"targets must be integers, or floats as logits are; got {y.dtype}")
    if y.shape != shape:
        but = "; probabilities must be floats" if y.shape == logits.shape else ""
        raise ValueError(
            f"targets must have shape {shape}, that of {of} without its class axis; got {y.shape}{but}"
        )
    return False


def check_fractions(targets: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Targets of this shape as floats, of this dtype if they were integers or booleans."""
    t = as_array("targets", targets)
    check_shape("targets", t, "logits", shape)
    if is_float(t.dtype):
        return t
    if t.dtype.kind not in "biu":
        raise TypeError(f"targets must be floats as logits are, integers or booleans; got {t.dtype}")
    return t.astype(dtype)


def check_ignore_index(value: Any) -> int:
    index = value if type(value) is int else integer("ignore_index", value)
    if not -(2**63) <= index < NO_CLASS_BEYOND:
        raise ValueError(f"ignore_index must be from -2**63 to 2**63 - 2, got {index}")
    return index


def is_half(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize == 2 and (dtype == _FLOAT16 or dtype.name == "bfloat16")


def is_float(dtype: np.dtype[Any]) -> bool:
    return dtype in _FLOAT_DTYPES or (dtype.isnative and is_half(dtype))


def row_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """That of one number a row, for logits of a dtype."""
    return dtype if dtype in _FLOAT_DTYPES else _FLOAT32


def float_array(name: str, value: Any) -> NDArray[Any]:
    array = value if type(value) is np.ndarray else as_array(name, value)
    if not is_float(array.dtype):
        raise TypeError(
            f"{name} must be float32, float64, float16 or bfloat16 in native byte order, got {array.dtype}"
        )
    if array.ndim == 0:
        raise ValueError(f"{name} must have at least one axis; got a scalar")
    return array


def check_shape(name: str, array: NDArray[Any], other_name: str, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, that of {other_name}; got {array.shape}")


def classes_last(array: NDArray[Any], axis: Any) -> NDArray[Any]:
    if type(axis) is int and axis == -1:
        return array
    position = integer("axis", axis)
    if not -array.ndim <= position < array.ndim:
        raise ValueError(f"axis must be from {-array.ndim} to {array.ndim - 1}, got {axis}")
    order = list(range(array.ndim))
    order.append(order.pop(position))
    return array.transpose(order)  # `np.moveaxis` takes several times as long, as do small batches then


def is_on_device(value: Any) -> bool:
    """Whether it is an array on a GPU, of any library; the second name is Numba's, and its simulator's."""
    if type(value) is np.ndarray:
        return False
    return hasattr(value, "__cuda_array_interface__") or hasattr(value, "__cuda_ndarray__")


def as_array(name: str, value: Any) -> NDArray[Any]:
    if is_on_device(value):
        raise NotImplementedError(
            f"{name} is on a GPU, where fastxent has cross_entropy, cross_entropy_with_grad, softmax,"
            " log_softmax and logsumexp of logits that are there as well; else copy it to the host"
        )
    if isinstance(value, MaskedArray) or _holds_masked(value):
        raise TypeError(f"{name} must be a plain array, got a masked array, whose mask would be lost")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: {error}") from None
    except (TypeError, RuntimeError) as error:  # PyTorch's, of tensors that NumPy cannot hold
        raise TypeError(f"{name} must be an array: {error}") from None


def _holds_masked(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(item, MaskedArray) or _holds_masked(item) for item in value)
    return False


def integer(name: str, value: Any) -> int:
    if type(value) is int:
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def real(name: str, value: Any) -> float:
    """As a float, which for an integer beyond its range is infinite."""
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def contiguous_int64(y: NDArray[Any]) -> NDArray[np.int64]:
    if y.dtype.kind == "u" and y.itemsize == 8:
        y = np.minimum(y, NO_CLASS_BEYOND)
    if y.dtype != _INT64:
        y = y.astype(_INT64)
    return y if y.flags.c_contiguous else np.ascontiguousarray(y)


def raise_bad_target(targets: Any, bad: int, n_classes: int, ignore_index: int) -> NoReturn:
    """For the target of this index, counted over all axes, that is neither a class nor ignored."""
    classes = f"a class from 0 to {n_classes - 1}" if n_classes else "no class, for there are none,"
    raise IndexError(f"{_told_target(targets, bad)}, expected {classes} or ignore_index ({ignore_index})")


def raise_bad_fraction(targets: Any, bad: int) -> NoReturn:
    """For the target of this index, counted over all axes, that is not from 0 to 1."""
    raise ValueError(f"{_told_target(targets, bad)}, expected a number from 0 to 1")


def _told_target(targets: Any, bad: int) -> str:
    array = np.asarray(targets)
    position = ", ".join(str(i) for i in np.unravel_index(bad, array.shape))
    place = f"targets[{position}]" if position else "targets"
    return f"{place} is {array.flat[bad]}"
