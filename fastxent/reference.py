"""The specification: every public function in plain NumPy, with the same names and signatures.

Everything is computed in the dtype of its input. Given float64 it is what the tests compare with; given
float32 it is the NumPy that people write, which the benchmarks call the naive baseline. Arguments are
not validated.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reduction = Literal["mean", "sum", "none"]
Loss = Any  # a float; for reduction="none" an array


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
) -> Loss:
    loss, _ = cross_entropy_with_grad(
        logits,
        targets,
        axis=axis,
        ignore_index=ignore_index,
        reduction=reduction,
        normalizer=normalizer,
        loss_out=loss_out,
        lse_out=lse_out,
    )
    return loss


def cross_entropy_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
    grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    z = np.moveaxis(np.asarray(logits), axis, -1)
    shape, n_classes = z.shape, z.shape[-1]
    z, y = z.reshape(-1, n_classes), np.asarray(targets).reshape(-1)
    kept = np.flatnonzero(y != ignore_index)

    row_max, exps, sum_exp = _shifted_exps(z)
    lse = _log_sum_exp(row_max, sum_exp)[:, 0]
    row_losses = np.zeros(len(y), z.dtype)
    with np.errstate(invalid="ignore"):
        row_losses[kept] = lse[kept] - z[kept, y[kept]]

    grad = exps / sum_exp
    grad[kept, y[kept]] -= 1
    if len(kept) < len(y):
        ignored = y == ignore_index
        lse[ignored] = 0
        grad[ignored] = 0
    divisor = 1.0
    if reduction == "mean":
        divisor = (len(kept) or 1) if normalizer is None else normalizer
        grad /= divisor

    row_losses, lse = row_losses.reshape(shape[:-1]), lse.reshape(shape[:-1])
    _store(loss_out, row_losses)
    _store(lse_out, lse)
    grad = _store(grad_out, np.moveaxis(grad.reshape(shape), -1, axis))
    if reduction == "none":
        return row_losses, grad
    return float(row_losses.sum(dtype=np.float64)) / divisor, grad


def softmax(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    _, exps, sum_exp = _shifted_exps(np.asarray(logits), axis)
    return _store(out, exps / sum_exp)


def log_softmax(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    z = np.asarray(logits)
    row_max, _, sum_exp = _shifted_exps(z, axis)
    with np.errstate(invalid="ignore"):
        return _store(out, z - _log_sum_exp(row_max, sum_exp))


def logsumexp(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    row_max, _, sum_exp = _shifted_exps(np.asarray(logits), axis)
    return _store(out, _log_sum_exp(row_max, sum_exp).squeeze(axis))


def softmax_grad(
    probs: ArrayLike, grad: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    p, g = np.asarray(probs), np.asarray(grad)
    return _store(out, p * (g - (p * g).sum(axis=axis, keepdims=True)))


def sigmoid(logits: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    z = np.asarray(logits)
    e = np.exp(-np.abs(z))
    return _store(out, np.where(z < 0, e, 1) / (1 + e))


def _shifted_exps(z: NDArray[Any], axis: int = -1) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Row maximum, exp(z − row maximum) and its sum; NaN throughout where the maximum is infinite."""
    with np.errstate(invalid="ignore"):
        row_max = z.max(axis=axis, keepdims=True, initial=-np.inf)
        exps = np.exp(z - row_max)
    return row_max, exps, exps.sum(axis=axis, keepdims=True)


def _log_sum_exp(row_max: NDArray[Any], sum_exp: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(row_max), row_max + np.log(sum_exp), row_max)


def _store(out: NDArray[Any] | None, result: NDArray[Any]) -> NDArray[Any]:
    if out is None:
        return result
    out[...] = result
    return out
