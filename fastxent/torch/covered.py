"""What fastxent computes, and what is left to PyTorch's own functions."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.nn.parameter import Parameter

from .gpu import is_on_gpu_in_use

# Under one name each, which every call of a loss asks for.
_transforms_are_active = torch._C._are_functorch_transforms_active
_n_watching = torch._C._len_torch_dispatch_stack
_state_of_trace = torch._C._get_tracing_state

_HALF = frozenset((torch.float16, torch.bfloat16))
_CAST = _HALF | {torch.float32}  # by autocast, to float32
_FLOATS = _CAST | {torch.float64}
INTEGERS = frozenset(
    (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
)
_REDUCTIONS = ("mean", "sum", "none")
_TENSOR_TYPES = frozenset((Tensor, Parameter, FakeTensor))  # other subclasses have a will of their own


def covers_cross_entropy(
    input: Any, target: Any, weight: Any, ignore_index: Any, reduction: Any, label_smoothing: Any
) -> bool:
    by_class = isinstance(target, Tensor) and target.dtype in INTEGERS
    if not (
        _is_logits(input, has_gpu_path=by_class)
        and _is_beside(target, input)
        and type(ignore_index) is int
        and reduction in _REDUCTIONS
        and isinstance(label_smoothing, (int, float))
        and 0 <= label_smoothing <= 1
    ):
        return False
    if weight is not None:
        n_classes = input.shape[0 if input.dim() == 1 else 1]
        if not (_is_constant_beside(weight, input) and weight.shape == (n_classes,)):
            return False
    if by_class:
        # Of most wrong shapes whoever solves tells, at less cost; of one class index beside one row PyTorch
        # computes the loss.
        return input.dim() > 1 or target.dim() == 0
    return _has_dtype_beside(target, input) and target.shape == input.shape and ignore_index < 0


def covers_binary_cross_entropy(
    input: Any, target: Any, weight: Any, pos_weight: Any, reduction: Any
) -> bool:
    return (
        _is_logits(input, has_gpu_path=False)
        and _is_constant_beside(target, input)
        and target.shape == input.shape
        and reduction in _REDUCTIONS
        and all(
            w is None or (_is_constant_beside(w, input) and _broadcasts(w, input))
            for w in (weight, pos_weight)
        )
    )


def _is_logits(input: Any, has_gpu_path: bool) -> bool:
    if _is_plain(input) and (
        input.is_cpu or (has_gpu_path and not is_traced(input) and is_on_gpu_in_use(input))
    ):
        if _is_transformed():
            return False
        shape = input.shape
        # Sizes that only a run knows are asked for then, by the operator.
        return input.dtype in _FLOATS and len(shape) > 0 and (is_traced(input) or 0 not in shape)
    if isinstance(input, Tensor) and input.device.type not in ("cpu", "meta"):
        _warn_of_device(input.device.type)
    return False


def _is_plain(tensor: Any) -> bool:
    return type(tensor) in _TENSOR_TYPES and tensor.layout is torch.strided


def _is_beside(tensor: Any, input: Tensor) -> bool:
    return _is_plain(tensor) and (tensor.is_cpu if input.is_cpu else tensor.device == input.device)


def _is_constant_beside(tensor: Any, input: Tensor) -> bool:
    return _is_beside(tensor, input) and not tensor.requires_grad and _has_dtype_beside(tensor, input)


def _has_dtype_beside(tensor: Tensor, input: Tensor) -> bool:
    """Whether PyTorch would compute with both in one dtype, without promoting the loss to another."""
    if tensor.dtype is input.dtype:
        return True
    return tensor.dtype in _CAST and input.dtype in _CAST and _autocast_is_on(input)


def loss_dtype(input: Tensor) -> torch.dtype:
    return torch.float32 if input.dtype in _HALF and _autocast_is_on(input) else input.dtype


def _autocast_is_on(input: Tensor) -> bool:
    return torch.is_autocast_enabled("cpu" if input.is_cpu else "cuda")


def _broadcasts(tensor: Tensor, input: Tensor) -> bool:
    sizes = zip(reversed(tensor.shape), reversed(input.shape), strict=False)
    return tensor.dim() <= input.dim() and all(size in (1, n) for size, n in sizes)


def _is_transformed() -> bool:
    """Whether by those who may want any derivative, or `torch.jit.trace`, which sees no kernel."""
    return _transforms_are_active() or forward_ad._current_level >= 0 or _state_of_trace() is not None


def is_traced(input: Tensor) -> bool:
    """Whether someone watches the operators that are called."""
    return is_compiling() or _n_watching() > 0 or type(input) is FakeTensor


@cache
def _warn_of_device(device: str) -> None:
    of_gpu = "; on a GPU there is one where fastxent.cuda.is_available(), for class indices, uncompiled"
    warnings.warn(
        f"fastxent.torch has no path for these {device} tensors: torch.nn.functional computes their loss"
        + (of_gpu if device == "cuda" else ""),
        stacklevel=5,
    )
