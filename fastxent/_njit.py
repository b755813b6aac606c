"""`cross_entropy` and `cross_entropy_with_grad` where users call them in `@njit` functions: what they take.

Integer targets, and classes on the last axis. This module is imported for Numba to know of it, which
compiles nothing.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core.errors import TypingError
from numba.extending import overload

from . import losses
from ._njit_arrays import FLAGS, given_grad, new_grad

_NUMBERS = "label_smoothing", "focal_gamma", "z_loss", "softcap", "logit_scale", "normalizer"
_NEVER_NONE = "ignore_index", "label_smoothing", "focal_gamma", "z_loss", "logit_scale", "reduction", "axis"


def _require(is_right: bool, name: str, wanted: str, got: Any) -> None:
    if not is_right:
        raise TypingError(f"{name} must be {wanted}, got {got}")


def _has_axes_and_dtype(given: Any, n_axes: int, *dtypes: Any) -> bool:
    """Whether this is the type of one with so many axes, or of a number if there are none."""
    if n_axes > 0 and not (isinstance(given, types.Array) and given.ndim == n_axes):
        return False
    dtype = given.dtype if n_axes > 0 else given
    return isinstance(dtype, dtypes) and dtype != types.float16  # in which Numba computes only on GPUs


def _types_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """The types of what is given, None for the rest; or an error that names what is wrong."""
    for name in _NEVER_NONE:
        _require(not isinstance(arguments[name], types.NoneType), name, "given, or left out", "None")
    given = {
        name: t if isinstance(t, types.Type) and not isinstance(t, types.NoneType) else None
        for name, t in arguments.items()
    }
    logits, axis = given["logits"], given["axis"]
    is_float = isinstance(logits, types.Array) and logits.dtype in (types.float32, types.float64)
    _require(is_float and logits.ndim > 0, "logits", "a float32 or float64 array of one axis or more", logits)
    n_axes = logits.ndim - 1
    is_last = axis is None or getattr(axis, "literal_value", None) in (-1, n_axes)
    _require(is_last, "axis", "-1, the last, where Numba compiles the call", axis)
    _check_inputs(given, n_axes)
    _check_outputs(given, n_axes)
    return given


def _check_inputs(given: dict[str, Any], n_axes: int) -> None:
    integer, real = (types.Integer,), (types.Integer, types.Float)
    for name, axes, dtypes in (
        ("targets", n_axes, integer),
        ("weight", 1, real),
        ("sample_weight", n_axes, real),
        ("ignore_index", 0, integer),
        *((name, 0, real) for name in _NUMBERS),
    ):
        what = "an integer" if dtypes is integer else "a real number"
        wanted = f"a {axes}-D array, each element {what}," if axes else what
        is_right = _has_axes_and_dtype(given[name], axes, *dtypes) or (
            given[name] is None and name != "targets"
        )
        _require(is_right, name, f"{wanted} where Numba compiles the call", given[name])
    is_uint64 = given["ignore_index"] is not None and types.unliteral(given["ignore_index"]) == types.uint64
    _require(not is_uint64, "ignore_index", "an integer of int64's range", given["ignore_index"])
    reduction = given["reduction"]
    is_known = reduction is None or getattr(reduction, "literal_value", None) in ("mean", "sum", "none")
    _require(is_known, "reduction", 'the constant "mean", "sum" or "none"', reduction)


def _check_outputs(given: dict[str, Any], n_axes: int) -> None:
    logits = given["logits"]
    for name, dtype, axes in (
        ("loss_out", logits.dtype, n_axes),
        ("lse_out", logits.dtype, n_axes),
        ("entropy_out", logits.dtype, n_axes),
        ("rank_out", types.int64, n_axes),
        ("grad_out", logits.dtype, n_axes + 1),
        ("hess_out", logits.dtype, n_axes + 1),
    ):
        out = given.get(name)
        if out is not None:
            is_right = isinstance(out, types.Array) and (out.dtype, out.ndim) == (dtype, axes) and out.mutable
            _require(is_right, name, f"a {axes}-D array of {dtype} that can be written", out)
    of_targets = given.get("targets_grad_out")
    _require(of_targets is None, "targets_grad_out", "left out: classes have no gradient", of_targets)
    if given.get("hess_out") and given["softcap"]:
        raise TypingError("hess_out cannot be had with softcap, where the Hessian is not that of softmax")


def _solver(given: dict[str, Any], grad: types.Type | None) -> Any:
    from ._njit_solve import solver  # which only those who compile are to wait for

    reduction = "mean" if given["reduction"] is None else given["reduction"].literal_value
    if given["normalizer"] and reduction != "mean":
        raise TypingError(f'normalizer divides the mean, so reduction must be "mean", got {reduction!r}')
    names = "logits", "targets", "weight", "sample_weight", "loss_out", "lse_out", "rank_out", "entropy_out"
    return solver(
        reduction, grad=grad, hess_out=given.get("hess_out"), **{name: given[name] for name in names}
    )


def _overload(function: Any) -> Any:
    # Not strict: in what is compiled an option is None if it is not given.
    return overload(function, strict=False, prefer_literal=True, target="cpu", jit_options=FLAGS)


# fmt: off
@_overload(losses.cross_entropy)
def _cross_entropy(
    logits, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100, label_smoothing=0.0,
    focal_gamma=0.0, z_loss=0.0, softcap=None, logit_scale=1.0, reduction="mean", normalizer=None,
    loss_out=None, lse_out=None, rank_out=None, entropy_out=None,
):
    solve = _solver(_types_of(locals()), None)

    def compiled(
        logits, targets, axis=-1, weight=None, sample_weight=None, ignore_index=-100, label_smoothing=None,
        focal_gamma=None, z_loss=None, softcap=None, logit_scale=None, reduction="mean", normalizer=None,
        loss_out=None, lse_out=None, rank_out=None, entropy_out=None,
    ):
        return solve(
            logits, targets, weight, sample_weight, ignore_index, label_smoothing, focal_gamma, z_loss,
            softcap, logit_scale, normalizer, loss_out, lse_out, rank_out, entropy_out, None, None,
        )

    return compiled


@_overload(losses.cross_entropy_with_grad)
def _cross_entropy_with_grad(
    logits, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100, label_smoothing=0.0,
    focal_gamma=0.0, z_loss=0.0, softcap=None, logit_scale=1.0, reduction="mean", normalizer=None,
    loss_out=None, lse_out=None, rank_out=None, entropy_out=None, grad_out=None, hess_out=None,
    targets_grad_out=None,
):
    given = _types_of(locals())
    solve = _solver(given, given["grad_out"] or given["logits"])
    grad_of = given_grad if given["grad_out"] else new_grad

    def compiled(
        logits, targets, axis=-1, weight=None, sample_weight=None, ignore_index=-100, label_smoothing=None,
        focal_gamma=None, z_loss=None, softcap=None, logit_scale=None, reduction="mean", normalizer=None,
        loss_out=None, lse_out=None, rank_out=None, entropy_out=None, grad_out=None, hess_out=None,
        targets_grad_out=None,
    ):
        grad = grad_of(logits, grad_out)
        loss = solve(
            logits, targets, weight, sample_weight, ignore_index, label_smoothing, focal_gamma, z_loss,
            softcap, logit_scale, normalizer, loss_out, lse_out, rank_out, entropy_out, grad, hess_out,
        )
        return loss, grad

    return compiled
# fmt: on
