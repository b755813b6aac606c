"""Tensors and arrays of the same memory, and where gradients go."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LARGE = 2**25  # bytes; freed memory of less is kept by the C library

_kept: list[tuple[NDArray[np.uint8], weakref.ref[Any]]] = []
"""At most one: the memory of the last large gradient, and what lives as long as tensors with that memory."""


def array_of(tensor: Tensor) -> NDArray[Any]:
    """A ValueError for tensors that NumPy has nothing like: negated by a bit, all zeros, or freed."""
    try:
        if not tensor.data_ptr():  # NumPy would take memory of its own
            raise ValueError("the tensor has no storage")
        if tensor.dtype is not torch.bfloat16:
            return tensor.numpy()
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def tensor_of(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
    if dtype is not torch.bfloat16:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def dtype_of_gradient(dtype: torch.dtype) -> torch.dtype:
    """Not float16, where most of it would be 0 before backward has multiplied it by a loss scale."""
    return torch.float32 if dtype is torch.float16 else dtype


def memory_for_gradient(input: Tensor, dtype: torch.dtype, logits: NDArray[Any]) -> Tensor | None:
    """Where the gradient goes, with the strides of the input; None for a small one in C order: anywhere.

    New pages for a large one take longer than its numbers, so it gets the memory of the last large one, if
    that suffices and no tensor has it any more.
    """
    if logits.flags.c_contiguous and logits.nbytes < _LARGE and dtype is not torch.float16:
        return None
    dtype = dtype_of_gradient(dtype)
    n_bytes = logits.size * dtype.itemsize
    if logits.flags.c_contiguous and n_bytes >= _LARGE:
        return _in_kept_memory(n_bytes).view(dtype).view(input.shape)
    return torch.empty_like(input, dtype=dtype)


def _in_kept_memory(n_bytes: int) -> Tensor:
    try:
        memory, user = _kept.pop()
        free = user() is None and memory.nbytes >= n_bytes
    except IndexError:
        free = False
    if not free:
        memory = np.empty(n_bytes, np.uint8)  # NumPy asks the system for large pages, PyTorch does not
    used = memory[:n_bytes]
    _kept[:] = [(memory, weakref.ref(used))]
    return torch.from_numpy(used)


def empty_cache() -> None:
    """Give back the memory that is kept for the next large gradient.

    Gradients of 32 MiB or more leave their memory, once no tensor has it any more, to the next that is not
    larger. Call this when that memory is wanted for something else, as after the last step of a training.

    Examples
    --------
    >>> empty_cache()
    """
    _kept.clear()
