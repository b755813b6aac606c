"""Softmax and its relatives, as the specification has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def softmax(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    _, exps, sum_exp = shifted_exps(arithmetic(logits), axis)
    return store(out, exps / sum_exp, np.asarray(logits).dtype)


def log_softmax(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    z = arithmetic(logits)
    row_max, _, sum_exp = shifted_exps(z, axis)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return store(out, (z - row_max) - np.log(sum_exp), np.asarray(logits).dtype)


def logsumexp(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    row_max, _, sum_exp = shifted_exps(arithmetic(logits), axis)
    return store(out, log_sum_exp(row_max, sum_exp).squeeze(axis))


def softmax_grad(
    probs: ArrayLike, grad: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    p, g = arithmetic(probs), arithmetic(grad)
    with np.errstate(invalid="ignore"):
        dot = (p * g).sum(axis=axis, keepdims=True)
        return store(out, p * (g - np.where(np.isfinite(dot), dot, np.nan)), np.asarray(probs).dtype)


def sigmoid(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    z = np.moveaxis(arithmetic(logits), axis, axis)  # an axis that is not there is an error
    e = np.exp(-np.abs(z))
    return store(out, np.where(z < 0, e, 1) / (1 + e), np.asarray(logits).dtype)


def arithmetic(array: ArrayLike) -> NDArray[Any]:
    """The array in the dtype that it is computed in."""
    x = np.asarray(array)
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def shifted_exps(z: NDArray[Any], axis: int = -1) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Row maximum, exp(z − row maximum) and its sum; NaN throughout where the maximum is infinite."""
    with np.errstate(invalid="ignore", over="ignore"):
        row_max = z.max(axis=axis, keepdims=True, initial=-np.inf)
        exps = np.exp(z - row_max)
    return row_max, exps, exps.sum(axis=axis, keepdims=True)


def log_sum_exp(row_max: NDArray[Any], sum_exp: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(row_max), row_max + np.log(sum_exp), row_max)


def store(out: NDArray[Any] | None, result: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    if out is None:
        return result.astype(dtype or result.dtype, copy=False)
    out[...] = result
    return out
