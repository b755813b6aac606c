"""Arrays in a GPU's memory, as NumPy sees them: shapes, strides and addresses, but not their elements.

The checks and the axes of the CPU path ask for no more. What reads or writes elements is a kernel.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._axes import merged
from .._validation import is_half, is_on_device
from . import package

MOST_CLASSES = 2**31 - 1
"""For kernels that compare classes in 32 bits."""


class _Described:
    def __init__(self, description: dict[str, Any]) -> None:
        self.__array_interface__ = description


def view_of(name: str, array: Any) -> NDArray[Any]:
    """To be asked for its shape, strides, dtype and address alone: reading an element would crash."""
    if not is_on_device(array):
        raise TypeError(f"{name} must be on the GPU, as logits are; got {type(array).__name__}")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor) and (array.is_neg() or array._is_zerotensor()):
        raise ValueError(f"{name} must hold its numbers in memory; pass a clone of the tensor")
    given = package.interface(array)
    if given.get("mask") is not None:
        raise TypeError(f"{name} must be a plain array, got one with a mask, which would be lost")
    dtype = np.dtype(given["typestr"])
    shape, strides, (pointer, is_readonly) = tuple(given["shape"]), given.get("strides"), given["data"]
    if 0 in shape:
        return np.empty(shape, _named(dtype))
    if pointer % dtype.itemsize or any(stride % dtype.itemsize for stride in strides or ()):
        raise ValueError(f"{name} must lie at multiples of its {dtype.itemsize} bytes an element")
    # As plain bytes: NumPy's interface knows no bfloat16.
    description = {
        "shape": shape,
        "strides": strides,
        "typestr": f"|V{dtype.itemsize}",
        "data": (pointer, is_readonly),
        "version": 3,
    }
    return np.asarray(_Described(description)).view(_named(dtype))


def _named(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Two bytes of no other meaning are bfloat16, in PyTorch and in CuPy."""
    if dtype.kind != "V" or dtype.itemsize != 2:
        return dtype
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def view_if_given(name: str, array: Any) -> NDArray[Any] | None:
    return None if array is None else view_of(name, array)


def ready_on(logits: Any, *others: Any) -> Any:
    """The current stream of who made the logits, once the others are ready for what is put on it."""
    number = _stream_number(logits)
    stream = package.stream_at(number) if number else 0
    for array in others:
        if array is not None and is_on_device(array):
            other = _stream_number(array)
            if other and other != number:
                package.wait(stream, package.stream_at(other))
    return stream


def have_wait_for(out: Any, logits: Any, stream: Any) -> None:
    """Who waits for the stream of an output that was given is to wait for what is written into it."""
    number = _stream_number(out)
    if number and number != _stream_number(logits):
        package.wait(package.stream_at(number), stream)


def _stream_number(array: Any) -> int | None:
    """PyTorch tells of its current stream in no interface."""
    if not is_on_device(array):
        return None
    number: int | None = package.interface(array).get("stream")
    torch = sys.modules.get("torch")
    if number is None and torch is not None and isinstance(array, torch.Tensor):
        number = torch.cuda.current_stream(array.device).cuda_stream
    return number


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], stream: Any) -> tuple[Any, NDArray[Any]]:
    array = package.empty(shape, dtype, stream)
    return array, view_of("a new array", array)


def with_rows_on_two_axes(arrays: list[NDArray[Any] | None]) -> list[Any]:
    """Views of arrays of the rows' shape and one axis more, or None, as kernels take them."""
    n_classes = max(a.shape[-1] for a in arrays if a is not None)
    if n_classes > MOST_CLASSES:
        raise NotImplementedError(f"on the GPU rows have at most {MOST_CLASSES} classes, got {n_classes}")
    views = merged(arrays)
    n_axes = max(a.ndim for a in views if a is not None)
    if n_axes > 3:
        raise NotImplementedError(
            "on the GPU rows must lie on at most two axes, once those are merged whose strides allow it;"
            f" here they need {n_axes - 1}: copy the arrays to contiguous ones"
        )
    return [a if a is None else for_kernel(a[None] if n_axes == 2 else a) for a in views]


def for_kernel(view: NDArray[Any]) -> Any:
    return package.device_array(view.view(np.uint16) if is_half(view.dtype) else view)


def copied_to_host(view: NDArray[Any], stream: Any) -> NDArray[Any]:
    # Numba copies no array whose strides are negative.
    forwards: Any = (..., *(slice(None, None, -1 if stride < 0 else 1) for stride in view.strides))
    return package.to_host(for_kernel(view[forwards]), stream).view(view.dtype)[forwards]
