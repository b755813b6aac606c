"""Tensors to fastxent's public functions, and back without a copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

import fastxent

from .._dispatch import PARALLEL_FROM


class Asked(NamedTuple):
    """Besides the loss: gradients by input and target, and whether the first may overwrite the input."""

    grad: bool
    target_grad: bool = False
    inplace: bool = False


class Solved(NamedTuple):
    loss: Tensor
    grad: Tensor | None = None
    target_grad: Tensor | None = None


def cross_entropy(
    input: Tensor,
    target: Tensor,
    asked: Asked,
    loss_dtype: torch.dtype,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
) -> Solved:
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": label_smoothing}
    if input.dim() > 2:
        options["axis"] = 1
    if weight is not None:
        options["weight"] = _array(weight)
    by_class = not target.is_floating_point()
    if by_class:
        options["ignore_index"] = ignore_index
    target_grad = torch.empty_like(target) if asked.target_grad else None
    if target_grad is not None:
        options["targets_grad_out"] = _array(target_grad)
    functions = fastxent.cross_entropy, fastxent.cross_entropy_with_grad
    try:
        loss, grad = _loss_and_grad(functions, input, target, asked, options)
    except ValueError:
        options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing, "weight": weight}
        return _as_torch_solves(F.cross_entropy, input, target, asked, reduction=reduction, **options)
    if by_class and reduction == "mean" and loss == 0:
        loss = _mean_that_may_be_of_nothing(target, weight, ignore_index)
    return Solved(_loss(loss, loss_dtype), grad, target_grad)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    asked: Asked,
    loss_dtype: torch.dtype,
    weight: Tensor | None,
    reduction: str,
    pos_weight: Tensor | None,
) -> Solved:
    weights = {"weight": weight, "pos_weight": pos_weight}
    options = {name: None if w is None else _array(w) for name, w in weights.items()}
    functions = fastxent.binary_cross_entropy, fastxent.binary_cross_entropy_with_grad
    try:
        loss, grad = _loss_and_grad(functions, input, target, asked, {"reduction": reduction, **options})
    except ValueError:
        function = F.binary_cross_entropy_with_logits
        return _as_torch_solves(function, input, target, asked, reduction=reduction, **weights)
    return Solved(_loss(loss, loss_dtype), grad)


def _loss_and_grad(
    functions: tuple[Callable[..., Any], Callable[..., Any]],
    input: Tensor,
    target: Tensor,
    asked: Asked,
    options: dict[str, Any],
) -> tuple[Any, Tensor | None]:
    """By the function for the loss, or by that for both, whose gradient goes to memory in C order of its own.

    NumPy asks the system for large pages, PyTorch does not, and a new gradient of 100 MB costs more than its
    numbers do. Other strides, which the gradient keeps, are left to PyTorch.
    """
    without_grad, with_grad = functions
    logits, targets = _array(input), _array(target)
    with _threads_for(input):
        if not (asked.grad or asked.target_grad):
            return without_grad(logits, targets, **options), None
        if asked.inplace:
            loss, _ = with_grad(logits, targets, grad_out=logits, **options)
            return loss, input.detach()
        if not input.is_contiguous():
            grad = torch.empty_like(input)
            loss, _ = with_grad(logits, targets, grad_out=_array(grad), **options)
        else:
            loss, values = with_grad(logits, targets, **options)
            grad = _tensor(values, input.dtype)
        return loss, grad if asked.grad else None


def _as_torch_solves(
    function: Callable[..., Tensor], input: Tensor, target: Tensor, asked: Asked, **options: Any
) -> Solved:
    """For values that fastxent refuses and PyTorch takes: negative weights, targets beyond 0 and 1."""
    with torch.enable_grad():
        z = input.detach().requires_grad_(asked.grad)
        t = target.detach().requires_grad_() if asked.target_grad else target
        loss = function(z, t, **options)
        by = [tensor for tensor in (z, t) if tensor.requires_grad]
        grads = iter(torch.autograd.grad(loss.sum(), by) if by else ())
    return Solved(
        loss.detach(), next(grads) if asked.grad else None, next(grads) if asked.target_grad else None
    )


def _mean_that_may_be_of_nothing(target: Tensor, weight: Tensor | None, ignore_index: int) -> float:
    """A mean of 0.0 as PyTorch has it: NaN where it is 0/0."""
    y = target.long()
    kept = y[y != ignore_index]
    divisor = len(kept) if weight is None else weight[kept].sum()
    return 0.0 if divisor else math.nan


def _loss(value: Any, dtype: torch.dtype) -> Tensor:
    if isinstance(value, float):
        return torch.scalar_tensor(value, dtype=dtype)
    return torch.from_numpy(value).to(dtype)


def _array(tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype is not torch.bfloat16:
        return tensor.numpy()
    import ml_dtypes

    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def _tensor(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
    if dtype is not torch.bfloat16:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def _threads_for(input: Tensor) -> Any:
    return nullcontext() if input.numel() < PARALLEL_FROM else _as_many_threads_as_torch()


@contextmanager
def _as_many_threads_as_torch() -> Iterator[None]:
    """One setting: `torch.set_num_threads`. Numba's number is this Python thread's own, and is put back."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.set_num_threads(before)
