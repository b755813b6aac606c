"""Tensors to fastxent's public functions, and back without a copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

import fastxent

from .. import cpu
from .._dispatch import PARALLEL_FROM
from .memory import array_of, dtype_of_gradient, memory_for_gradient, tensor_of

_CPU = torch.device("cpu")  # as a name it takes PyTorch longer


class Asked(NamedTuple):
    """Besides the loss: gradients by input and target, and whether the first may overwrite the input."""

    grad: bool
    target_grad: bool = False
    inplace: bool = False


Solved = tuple[Tensor, Tensor | None, Tensor | None]
"""The loss, and its gradients by input and target."""


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
        options["weight"] = array_of(weight)
    by_class = not target.is_floating_point()
    if by_class:
        options["ignore_index"] = ignore_index
    if asked.target_grad:
        target = target.to(dtype_of_gradient(target.dtype))
    target_grad = torch.empty_like(target) if asked.target_grad else None
    if target_grad is not None:
        options["targets_grad_out"] = array_of(target_grad)
    functions = fastxent.cross_entropy, fastxent.cross_entropy_with_grad
    loss, grad = _loss_and_grad(functions, input, target, asked, options)
    if by_class and reduction == "mean" and loss == 0:
        loss = mean_that_may_be_of_nothing(target, weight, ignore_index)
    return _loss(loss, loss_dtype), grad, target_grad


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
    options = {name: None if w is None else array_of(w) for name, w in weights.items()}
    functions = fastxent.binary_cross_entropy, fastxent.binary_cross_entropy_with_grad
    loss, grad = _loss_and_grad(functions, input, target, asked, {"reduction": reduction, **options})
    return _loss(loss, loss_dtype), grad, None


def _loss_and_grad(
    functions: tuple[Callable[..., Any], Callable[..., Any]],
    input: Tensor,
    target: Tensor,
    asked: Asked,
    options: dict[str, Any],
) -> tuple[Any, Tensor | None]:
    """By the function for the loss, or by that for both; in as many threads as PyTorch would take."""
    logits, targets = array_of(input), array_of(target)
    if logits.size < PARALLEL_FROM:
        return _of_arrays(functions, input, logits, targets, asked, options)
    with cpu.at_most(torch.get_num_threads()):
        return _of_arrays(functions, input, logits, targets, asked, options)


def _of_arrays(
    functions: tuple[Callable[..., Any], Callable[..., Any]],
    input: Tensor,
    logits: Any,
    targets: Any,
    asked: Asked,
    options: dict[str, Any],
) -> tuple[Any, Tensor | None]:
    without_grad, with_grad = functions
    if not (asked.grad or asked.target_grad):
        return without_grad(logits, targets, **options), None
    if asked.inplace:
        loss, _ = with_grad(logits, targets, grad_out=logits, **options)
        return loss, input.detach()
    dtype = input.dtype
    grad = memory_for_gradient(input, dtype, logits)
    if grad is None:
        loss, values = with_grad(logits, targets, **options)
        grad = tensor_of(values, dtype)
    else:
        loss, _ = with_grad(logits, targets, grad_out=array_of(grad), **options)
    return loss, grad if asked.grad else None


def as_torch_solves(
    function: Callable[..., Tensor],
    input: Tensor,
    target: Tensor,
    asked: Asked,
    loss_dtype: torch.dtype,
    options: dict[str, Any],
) -> Solved:
    """For values that fastxent refuses and PyTorch takes: negative weights, targets beyond 0 and 1.

    The results have the strides that fastxent's have, on which compiled code relies.
    """

    def solve() -> Solved:
        z = input.detach().requires_grad_(asked.grad)
        t = target.detach().requires_grad_(asked.target_grad)
        with torch.autocast("cpu", enabled=loss_dtype is torch.float32):  # for operands of half types
            loss = function(z, t, **options)
        by = [tensor for tensor in (z, t) if tensor.requires_grad]
        grads = iter(torch.autograd.grad(loss.sum(), by) if by else ())
        dtype = dtype_of_gradient(input.dtype)
        grad = torch.empty_like(input, dtype=dtype).copy_(next(grads)) if asked.grad else None
        dtype = dtype_of_gradient(target.dtype)
        target_grad = torch.empty_like(target, dtype=dtype).copy_(next(grads)) if asked.target_grad else None
        return loss.detach().contiguous(), grad, target_grad

    with ThreadPoolExecutor(1) as threads:  # for which the operator has not switched autograd off
        return threads.submit(solve).result()


def as_torch_takes(target: Tensor) -> Tensor:
    """Class indices as int64; what that cannot hold is no class, and must not wrap to one that is ignored."""
    if target.is_floating_point():
        return target
    y = target.long()
    return torch.where(y < 0, torch.iinfo(torch.int64).max, y) if target.dtype is torch.uint64 else y


def mean_that_may_be_of_nothing(target: Tensor, weight: Tensor | None, ignore_index: int) -> float:
    """A mean of 0.0 as PyTorch has it: NaN where it is 0/0."""
    y = target.long()
    kept = y[y != ignore_index]
    divisor = len(kept) if weight is None else weight[kept].sum()
    return 0.0 if divisor else math.nan


def scalar(value: float, dtype: torch.dtype, device: torch.device = _CPU) -> Tensor:
    try:
        return torch.scalar_tensor(value, dtype=dtype, device=device)
    except RuntimeError:  # float32 does not reach that far
        return torch.scalar_tensor(value, dtype=torch.float64, device=device).to(dtype)


def _loss(value: Any, dtype: torch.dtype) -> Tensor:
    return scalar(value, dtype) if isinstance(value, float) else torch.from_numpy(value).to(dtype)
