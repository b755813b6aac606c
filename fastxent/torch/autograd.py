"""Tells PyTorch of gradients that are known once the loss is: in eager mode, and as operators to compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from .memory import dtype_of_gradient
from .solve import Asked, Solved, as_torch_solves, as_torch_takes, binary_cross_entropy, cross_entropy

_USED_AFTER = "these logits were used after a loss with inplace=True had overwritten them with their gradient"
_NO_SECOND_DERIVATIVES = (
    "fastxent.torch has no second derivatives; for create_graph=True take the loss of torch.nn.functional"
)
_graph_is_kept = torch._C._autograd._get_current_graph_task_keep_graph
_has_storage = torch._C._has_storage


class WithKnownGradient(Function):
    """A loss that is solved forward, with the gradients that will be needed; backward scales them.

    PyTorch casts them to the logits' dtype after that.
    """

    @staticmethod
    def forward(
        ctx: Any,
        solve: Callable[[], Solved],
        ignore_index: int | None,
        overwrites: bool,
        input: Tensor,
        target: Tensor,
    ) -> Tensor:
        loss, grad, target_grad = solve()
        if overwrites:
            # The history that autograd handed to this node stays, and takes the gradient on; what comes after
            # gets another.
            with torch.enable_grad():
                _overwrite(input)
        _save(ctx, grad, target_grad, target=target, ignore_index=ignore_index)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *_gradients(ctx, upstream)


class InPlace(Function):
    """WithKnownGradient and Overwritten as one node, which takes PyTorch less time."""

    @staticmethod
    def forward(
        ctx: Any, solve: Callable[[], Solved], ignore_index: int | None, input: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        loss, grad, target_grad = solve()
        ctx.mark_dirty(input)
        ctx.set_materialize_grads(False)
        _save(ctx, grad, target_grad, target=target, ignore_index=ignore_index)
        return input, loss  # retain_grad() wants what is overwritten first

    @staticmethod
    def backward(ctx: Any, of_logits: Tensor | None, upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        if of_logits is not None:
            raise RuntimeError(_USED_AFTER)
        if upstream is None:
            return None, None, None, None
        return None, None, *_gradients(ctx, upstream)


class Overwritten(Function):
    """Gives logits whose memory becomes the gradient a history of which nothing can be differentiated."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.mark_dirty(logits)
        return logits

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> None:
        raise RuntimeError(_USED_AFTER)


# `apply` without its search for transforms of torch.func, of which there are none where these are called.
_with_known_gradient = super(Function, WithKnownGradient).apply
_in_place = super(Function, InPlace).apply
_overwrite = super(Function, Overwritten).apply


def with_known_gradient(
    solve: Callable[[], Solved], asked: Asked, ignore_index: int | None, input: Tensor, target: Tensor
) -> Tensor:
    """The loss; an error leaves the logits and their history as they were."""
    if not (asked.grad or asked.target_grad):
        return solve()[0]
    if asked.inplace and not (input.is_leaf or input._is_view()):
        return _in_place(solve, ignore_index, input, target)[1]
    if asked.inplace:
        _have_torch_refuse(input)
    return _with_known_gradient(solve, ignore_index, asked.inplace, input, target)


def _have_torch_refuse(input: Tensor) -> None:
    """A leaf, or a view that nobody may write in place: of Functions it does so only when they have run."""
    base, autograd = input._base, torch._C._autograd
    may_be_written = autograd.CreationMeta.DEFAULT
    if base is None or base.is_leaf or autograd._get_creation_meta(input) != may_be_written:
        input.add_(0)


def _save(ctx: Any, *grads: Tensor | None, target: Tensor, ignore_index: int | None) -> None:
    """Of class indices the target too, which tells the ignored rows."""
    ctx.ignore_index = ignore_index
    ctx.save_for_backward(*grads, None if target.is_floating_point() else target)


def _gradients(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """By input and target. The last backward through a graph may have the arrays themselves."""
    if torch.is_grad_enabled():
        raise RuntimeError(_NO_SECOND_DERIVATIVES)
    grad, target_grad, target = ctx.saved_tensors
    is_one = _has_storage(upstream)  # and not one for each of a batch
    if is_one and upstream.dim() == 0 and upstream.item() == 1 and not _graph_is_kept():
        return grad, target_grad
    if target is not None and not (is_one and upstream.isfinite().all()):
        upstream = _but_for_ignored(upstream, target, ctx.ignore_index)
    return _scaled(grad, upstream), _scaled(target_grad, upstream)


def _scaled(grad: Tensor | None, upstream: Tensor) -> Tensor | None:
    if grad is None:
        return None
    by = _for_each_row(grad, upstream)
    if not _has_storage(by):
        return grad * by
    return torch.mul(grad, by, out=torch.empty_like(grad)) if _graph_is_kept() else grad.mul_(by)


def _for_each_row(grad: Tensor, upstream: Tensor) -> Tensor:
    return upstream.unsqueeze(1) if 0 < upstream.dim() < grad.dim() else upstream


def _but_for_ignored(upstream: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """0 for ignored rows, to which infinity and NaN must do nothing: a mean over no rows has both."""
    return torch.where(target.long() == ignore_index, 0, upstream)


@torch.library.custom_op(
    "fastxent::cross_entropy",
    mutates_args=(),
    schema="(Tensor input, Tensor target, Tensor? weight, str reduction, SymInt ignore_index,"
    " float label_smoothing, ScalarType loss_dtype, bool with_grad, bool with_target_grad)"
    " -> (Tensor, Tensor, Tensor)",
)
def cross_entropy_op(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
    loss_dtype: torch.dtype,
    with_grad: bool,
    with_target_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    asked = Asked(with_grad, with_target_grad)
    options: dict[str, Any] = {
        "weight": weight,
        "reduction": reduction,
        "ignore_index": ignore_index,
        "label_smoothing": label_smoothing,
    }
    try:
        _refuse_no_logits(input)
        solved = cross_entropy(input, target, asked, loss_dtype, **options)
    except ValueError:
        solved = as_torch_solves(F.cross_entropy, input, as_torch_takes(target), asked, loss_dtype, options)
    return _without_none(solved, input)


@torch.library.custom_op(
    "fastxent::binary_cross_entropy_with_logits",
    mutates_args=(),
    schema="(Tensor input, Tensor target, Tensor? weight, str reduction, Tensor? pos_weight,"
    " ScalarType loss_dtype, bool with_grad) -> (Tensor, Tensor, Tensor)",
)
def binary_cross_entropy_op(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    pos_weight: Tensor | None,
    loss_dtype: torch.dtype,
    with_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    asked = Asked(with_grad)
    try:
        _refuse_no_logits(input)
        solved = binary_cross_entropy(input, target, asked, loss_dtype, weight, reduction, pos_weight)
    except ValueError:
        function = F.binary_cross_entropy_with_logits
        options = {"weight": weight, "reduction": reduction, "pos_weight": pos_weight}
        solved = as_torch_solves(function, input, target, asked, loss_dtype, options)
    return _without_none(solved, input)


def _refuse_no_logits(input: Tensor) -> None:
    if input.numel() == 0:
        raise ValueError("of no logits a mean is NaN, and there is nothing to be quicker at")


def _without_none(solved: Solved, input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    loss, *grads = solved
    grad, target_grad = (input.new_empty(0) if grad is None else grad for grad in grads)
    return loss, grad, target_grad


@cross_entropy_op.register_fake
def _(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
    loss_dtype: torch.dtype,
    with_grad: bool,
    with_target_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = input.shape[:0] if input.dim() == 1 else (*input.shape[:1], *input.shape[2:])
    if not target.is_floating_point():
        torch._check_value(
            target.dim() == len(rows), lambda: f"target has {target.dim()} axes, not {len(rows)}"
        )
        for size, expected in zip(target.shape, rows, strict=True):
            torch._check_value(size == expected, lambda: "target and input differ in their numbers of rows")
    loss = input.new_empty(rows if reduction == "none" else (), dtype=loss_dtype)
    grad = torch.empty_like(input, dtype=dtype_of_gradient(input.dtype)) if with_grad else None
    dtype = dtype_of_gradient(target.dtype)
    return _without_none(
        (loss, grad, torch.empty_like(target, dtype=dtype) if with_target_grad else None), input
    )


@binary_cross_entropy_op.register_fake
def _(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    pos_weight: Tensor | None,
    loss_dtype: torch.dtype,
    with_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    loss = input.new_empty(input.shape if reduction == "none" else (), dtype=loss_dtype)
    grad = torch.empty_like(input, dtype=dtype_of_gradient(input.dtype)) if with_grad else None
    return _without_none((loss, grad, None), input)


def _tell_autograd_of(operator: Any, n_flags: int, ignore_index_at: int | None) -> None:
    """Of an operator whose last inputs say which gradients it gives, by input and maybe by target."""

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.n_inputs, given = len(inputs), inputs[-n_flags:]
        wanted = ctx.needs_input_grad[:n_flags]
        if any(w and not g for w, g in zip(wanted, given, strict=True)):
            # The graph was traced without gradients, as `torch.export` does, and is run with them.
            given, output = wanted, operator(*inputs[:-n_flags], *wanted)
        grads = (grad if g else None for grad, g in zip(output[1:], given, strict=False))
        ignore_index = None if ignore_index_at is None else inputs[ignore_index_at]
        _save(ctx, *grads, target=inputs[1], ignore_index=ignore_index)

    def scale(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(_NO_SECOND_DERIVATIVES)
        *grads, target = ctx.saved_tensors
        if target is not None:
            upstream = _but_for_ignored(upstream, target, ctx.ignore_index)
        scaled = [
            None if grad is None else grad * _for_each_row(grad, upstream).to(grad.dtype) for grad in grads
        ]
        return *scaled, *(None for _ in range(ctx.n_inputs - len(scaled)))

    operator.register_autograd(scale, setup_context=save)


_tell_autograd_of(cross_entropy_op, 2, 4)
_tell_autograd_of(binary_cross_entropy_op, 1, None)
