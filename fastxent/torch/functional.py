"""The functions: signature, documentation, and what is asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import gpu, solve
from .autograd import binary_cross_entropy_op, cross_entropy_op, with_known_gradient
from .covered import INTEGERS, covers_binary_cross_entropy, covers_cross_entropy, is_traced, loss_dtype

# With them PyTorch does not see that what it saved was overwritten. Old versions cannot tell.
_hooks_for_what_is_saved = getattr(
    torch._C._autograd, "_top_saved_tensors_default_hooks", lambda ignore_is_tracing: None
)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    inplace: bool = False,
) -> Tensor:
    """`torch.nn.functional.cross_entropy`, with the gradient, if it will be needed, computed beside the loss.

    The formula is that of `fastxent.cross_entropy`.

    Parameters
    ----------
    input
        Logits: float32, float64, float16 or bfloat16 of shape (C), (N, C) or (N, C, d1, ..., dK); on the CPU,
        or with class indices on the GPU that Numba uses, where a loss that is one number is waited for.
    target
        Class indices of shape (), (N) or (N, d1, ..., dK), of any integer dtype; or class probabilities of
        the shape and dtype of `input`, which can be differentiated by too.
    weight
        Of each class: a tensor of size C and of the dtype of `input`.
    size_average, reduce
        Refused: PyTorch has deprecated them in favour of `reduction`.
    ignore_index
        Rows with this class index add nothing.
    reduction
        "mean", over Σ weight[y] of the rows kept, for probabilities over the rows; "sum"; or "none".
    label_smoothing
        From 0 to 1.
    inplace
        Whether the gradient may overwrite `input`, which saves memory of its size. `input` must then be
        what you would hand to an in-place function of PyTorch, such as the output of a linear layer, that
        no other function has kept for its backward and that is not used again: PyTorch raises a RuntimeError
        in backward otherwise, and at once for a leaf that requires grad. It does not see that of logits kept
        by way of hooks for saved tensors (`save_on_cpu`, `checkpoint` without `use_reentrant`): where such
        hooks are on nothing is overwritten, nor without autograd, under `torch.compile` or another mode that
        watches operators, and where PyTorch computes the loss.

    Returns
    -------
    The loss, of the dtype of `input`; under autocast float32 for half types.

    Raises
    ------
    TypeError
        `size_average` or `reduce` is given.
    IndexError
        A target is no class.
    RuntimeError, ValueError, ...
        As PyTorch: what is not described here is handed to it, and so is what is wrong. It is also raised
        by a backward with create_graph=True, for there are no second derivatives.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]], requires_grad=True)
    >>> loss = cross_entropy(logits, torch.tensor([1, 2]))
    >>> loss
    tensor(0.7815, grad_fn=<WithKnownGradientBackward>)
    >>> loss.backward()
    >>> logits.grad
    tensor([[ 0.1156, -0.1857,  0.0701],
            [ 0.1667,  0.1667, -0.3333]])
    """
    refuse_deprecated(size_average, reduce)
    if covers_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing):
        dtype, asked = loss_dtype(input), _asked(input, target, inplace)
        options = weight, reduction, ignore_index, float(label_smoothing)
        if is_traced(input):
            return cross_entropy_op(input, target, *options, dtype, asked.grad, asked.target_grad)[0]
        solver = solve.cross_entropy if input.is_cpu else gpu.cross_entropy
        try:
            return with_known_gradient(
                lambda: solver(input, target, asked, dtype, *options), asked, ignore_index, input, target
            )
        except ValueError:  # of fastxent, before anything is written; PyTorch takes it, or says the same
            pass
    if isinstance(target, Tensor) and target.dtype in INTEGERS:
        target = solve.as_torch_takes(target)  # it has no loss of most others
    return F.cross_entropy(
        input, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    *,
    inplace: bool = False,
) -> Tensor:
    """`torch.nn.functional.binary_cross_entropy_with_logits`, with the gradient computed beside the loss.

    The formula is that of `fastxent.binary_cross_entropy`.

    Parameters
    ----------
    input
        Logits: float32, float64, float16 or bfloat16, of any shape.
    target
        Of the shape and dtype of `input`, from 0 to 1.
    weight, pos_weight
        Tensors of the dtype of `input` that broadcast to its shape.
    size_average, reduce
        Refused: PyTorch has deprecated them in favour of `reduction`.
    reduction
        "mean" over the elements, "sum" or "none".
    inplace
        As for `cross_entropy`.

    Returns
    -------
    The loss, of the dtype of `input`; under autocast float32 for half types.

    Raises
    ------
    TypeError, RuntimeError, ValueError, ...
        As `cross_entropy`.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([2.0, -1.0], requires_grad=True)
    >>> binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0.0])).backward()
    >>> logits.grad
    tensor([-0.0596,  0.1345])
    """
    refuse_deprecated(size_average, reduce)
    if covers_binary_cross_entropy(input, target, weight, pos_weight, reduction):
        dtype, asked = loss_dtype(input), _asked(input, target, inplace)
        options = weight, reduction, pos_weight
        if is_traced(input):
            return binary_cross_entropy_op(input, target, *options, dtype, asked.grad)[0]
        try:
            return with_known_gradient(
                lambda: solve.binary_cross_entropy(input, target, asked, dtype, *options),
                asked,
                None,
                input,
                target,
            )
        except ValueError:  # as above
            pass
    return F.binary_cross_entropy_with_logits(
        input, target, weight, reduction=reduction, pos_weight=pos_weight
    )


def refuse_deprecated(size_average: Any, reduce: Any) -> None:
    if size_average is not None or reduce is not None:
        name = "reduce" if size_average is None else "size_average"
        raise TypeError(
            f'{name} is deprecated in PyTorch and not taken here; use reduction="mean", "sum" or "none"'
        )


def _asked(input: Tensor, target: Tensor, inplace: bool) -> solve.Asked:
    if not torch.is_grad_enabled():
        return solve.Asked(False)
    if inplace:
        inplace = input.requires_grad and not is_traced(input) and _hooks_for_what_is_saved(True) is None
    return solve.Asked(input.requires_grad, target.requires_grad, inplace)
