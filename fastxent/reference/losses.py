"""The losses and their gradients, as the specification has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activations import arithmetic, log_sum_exp, shifted_exps, store
from .rows import Loss, Reduction, Rows


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
    rank_out: NDArray[Any] | None = None,
    entropy_out: NDArray[Any] | None = None,
) -> Loss:
    return cross_entropy_with_grad(**locals())[0]


@np.errstate(all="ignore")
def cross_entropy_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
    rank_out: NDArray[Any] | None = None,
    entropy_out: NDArray[Any] | None = None,
    grad_out: NDArray[Any] | None = None,
    hess_out: NDArray[Any] | None = None,
    targets_grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    rows = Rows(logits, targets, axis, sample_weight, ignore_index)
    z, y, t = rows.values, rows.y, rows.t
    w: Any = 1.0 if weight is None else np.asarray(weight, z.dtype)
    w_y = 1.0 if weight is None or y is None else w[y[1]]
    rows.set_divisor(reduction, normalizer, w_y)
    u = z if logit_scale == 1 else logit_scale * z
    if softcap is not None:
        u = np.where(z == -np.inf, z, softcap * np.tanh(u / softcap))
    row_max, exps, sum_exp = shifted_exps(u)
    lse, p = log_sum_exp(row_max, sum_exp), exps / sum_exp

    hard, m, even = (1 - label_smoothing) * w_y, None, label_smoothing / max(1, z.shape[1])
    if t is not None:
        m = w * ((1 - label_smoothing) * t + even)
    elif label_smoothing:
        m = np.full((1, z.shape[1]), w * even, z.dtype)
    losses, slope, hard_slope = _objective(u, lse, y, hard, m, focal_gamma, z_loss)
    loss = rows.loss(losses, loss_out)
    if lse_out is not None:
        rows.store(lse_out, lse)
    if rank_out is not None:
        rows.store(rank_out, z.shape[1] - (z <= z[y]).sum(axis=1, keepdims=True), if_not_kept=z.shape[1])
    if entropy_out is not None:
        rows.store(entropy_out, _times(p, lse - u).sum(axis=1, keepdims=True))
    if hess_out is not None:
        rows.store_derivative(hess_out, p * ((1 - p) * slope + 2 * z_loss * p) * logit_scale**2)
    if targets_grad_out is not None:
        gaps = np.where(lse == np.inf, np.nan, lse) - u
        rows.store_derivative(targets_grad_out, _times((1 - label_smoothing) * w, gaps))

    grad = p
    if np.ndim(slope) or slope != 1:
        grad *= slope
    if y is not None:
        grad[y] -= hard_slope
    if m is not None:
        grad -= m
    if softcap is not None:
        grad = grad * np.where(u == -np.inf, 0, 1 - (u / softcap) ** 2)
    if logit_scale != 1:
        grad *= logit_scale
    return loss, rows.store_derivative(grad_out, grad)


def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
) -> Loss:
    return binary_cross_entropy_with_grad(**locals())[0]


@np.errstate(all="ignore")
def binary_cross_entropy_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    z = arithmetic(logits)
    t = np.asarray(targets).astype(z.dtype)
    if label_smoothing:
        t = (1 - label_smoothing) * t + label_smoothing / 2
    yes, no = t if pos_weight is None else np.asarray(pos_weight, z.dtype) * t, 1 - t
    small = np.exp(-np.abs(z))
    log_sum = np.log1p(small)
    losses = _times(yes, np.maximum(-z, 0) + log_sum) + _times(no, np.maximum(z, 0) + log_sum)
    grad = (no * np.where(z < 0, small, 1) - yes * np.where(z < 0, 1, small)) / (1 + small)
    if weight is not None:
        w = np.asarray(weight, z.dtype)
        losses, grad = _times(w, losses), w * grad

    losses = store(loss_out, losses)
    divisor = 1.0
    if reduction == "mean":
        divisor = (z.size or 1) if normalizer is None else normalizer
        grad /= divisor
    grad = store(grad_out, grad, np.asarray(logits).dtype)
    return losses if reduction == "none" else float(losses.sum(dtype=np.float64)) / divisor, grad


@np.errstate(all="ignore")
def log_loss(
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Loss:
    rows = Rows(probs, targets, axis, sample_weight, ignore_index)
    rows.set_divisor(reduction, normalizer)
    if rows.t is None:
        return rows.loss(-np.log(rows.values[rows.y]))
    return rows.loss(_times(rows.t, -np.log(rows.values)).sum(axis=1, keepdims=True))


def kl_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Loss:
    return kl_divergence_with_grad(**locals())[0]


@np.errstate(all="ignore")
def kl_divergence_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    rows = Rows(logits, targets, axis, sample_weight)
    rows.set_divisor(reduction, normalizer)
    z, t = rows.values, rows.t
    row_max, exps, sum_exp = shifted_exps(z)
    lse = log_sum_exp(row_max, sum_exp)
    losses = (_times(t, np.log(t)) + _times(t, lse - z)).sum(axis=1, keepdims=True)
    grad = exps / sum_exp * t.sum(axis=1, keepdims=True) - t
    return rows.loss(losses), rows.store_derivative(grad_out, grad)


@np.errstate(all="ignore")
def entropy(probs: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    p = arithmetic(probs)
    return store(out, _times(p, -np.log(p)).sum(axis=axis))


def _objective(
    u: NDArray[Any], lse: NDArray[Any], y: Any, hard: Any, m: Any, gamma: float, z_loss: float
) -> tuple[NDArray[Any], Any, Any]:
    """hard·(1 − p_y)^gamma·(lse − u_y) + Σ m_j·(lse − u_j) + z_loss·lse² of each row.

    And the slopes in its derivative, slope·p_j − hard_slope·[j = y] − m_j.
    """
    losses: Any = 0.0
    slope: Any = 0.0
    hard_slope: Any = 0.0
    if y is not None:
        cost, cost_slope = _focal(lse - u[y], gamma)
        losses = _times(hard, cost)
        slope = hard_slope = hard * cost_slope
    if m is not None:
        losses = losses + _times(m, lse - u).sum(axis=1, keepdims=True)
        slope = slope + m.sum(axis=1, keepdims=True)
    if z_loss:
        losses = losses + z_loss * lse**2
        slope = slope + 2 * z_loss * lse
    return losses, slope, hard_slope


def _focal(cost: NDArray[Any], gamma: float) -> tuple[NDArray[Any], Any]:
    """(1 − p)^gamma·cost and its derivative for cost, where cost = −log p."""
    if gamma == 0:
        return cost, 1.0
    p, q = np.exp(-cost), -np.expm1(-cost)
    return q**gamma * cost, q**gamma + gamma * _times(_times(p, cost), q ** (gamma - 1))


def _times(a: Any, b: NDArray[Any]) -> NDArray[Any]:
    """a·b, where zero times infinity is zero."""
    product = a * b
    # Only where there is NaN can zero have met infinity, and looking for it costs less than np.where.
    return np.where((a == 0) & np.isinf(b), 0, product) if np.isnan(product).any() else product
