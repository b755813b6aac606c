"""CUDA tensors, whose loss the GPU path of the public functions computes where they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import fastxent

from .memory import dtype_of_gradient
from .solve import Asked, Solved, mean_that_may_be_of_nothing, scalar


def is_on_gpu_in_use(tensor: Tensor) -> bool:
    """Whether on that where Numba launches kernels."""
    if not (tensor.is_cuda and fastxent.cuda.is_available()):
        return False
    from ..cuda import package  # nobody else pays for it

    return tensor.device.index == package.gpu_in_use()


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
    """As `solve.cross_entropy`, for class indices. A loss that is one number is waited for."""
    logits = input.detach()
    options: dict[str, Any] = {
        "weight": weight,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": label_smoothing,
    }
    if logits.dim() > 2:
        options["axis"] = 1
    if reduction == "none":
        row_dtype = torch.float64 if logits.dtype is torch.float64 else torch.float32
        options["loss_out"] = logits.new_empty(target.shape, dtype=row_dtype)
    grad: Any = None
    if asked.grad:
        grad = logits if asked.inplace else torch.empty_like(logits, dtype=dtype_of_gradient(logits.dtype))
    try:
        if grad is None:
            loss = fastxent.cross_entropy(logits, target, **options)
        else:
            loss, _ = fastxent.cross_entropy_with_grad(logits, target, grad_out=grad, **options)
    except NotImplementedError as error:  # rows on more than two axes are no error to PyTorch
        raise ValueError(str(error)) from error
    if isinstance(loss, float):
        if reduction == "mean" and loss == 0:
            loss = mean_that_may_be_of_nothing(target, weight, ignore_index)
        loss = scalar(loss, loss_dtype, logits.device)
    return loss.to(loss_dtype), grad, None
