"""The rows that a loss is computed of: their targets and weights, and where results go."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activations import arithmetic, store

Reduction = Literal["mean", "sum", "none"]
Loss = Any  # a float; for reduction="none" an array


class Rows:
    """Logits or probabilities by rows; the targets; which rows are kept and what they weigh."""

    def __init__(
        self,
        array: ArrayLike,
        targets: ArrayLike,
        axis: int,
        sample_weight: ArrayLike | None,
        ignore_index: int | None = None,
    ) -> None:
        x, t = np.moveaxis(np.asarray(array), axis, -1), np.asarray(targets)
        self.shape, self.dtype, self.axis = x.shape, x.dtype, axis
        self.values = z = arithmetic(x).reshape(np.prod(x.shape[:-1], dtype=int), x.shape[-1])
        self.y: Any = None  # where in the values the integer targets are
        self.t: Any = None  # the soft targets
        self.sample_weight: Any = None
        integers = t.dtype.kind in "iu"
        self.kept = t.reshape(-1, 1) != ignore_index if integers else np.ones((len(z), 1), bool)
        if sample_weight is not None:
            self.sample_weight = np.asarray(sample_weight, z.dtype).reshape(-1, 1)
            self.kept = self.kept & (self.sample_weight != 0)
        if integers:
            self.y = np.arange(len(z))[:, None], np.where(self.kept, t.reshape(-1, 1), 0)
        else:
            self.t = np.moveaxis(t, axis, -1).reshape(z.shape).astype(z.dtype, copy=False)

    def set_divisor(self, reduction: Reduction, normalizer: float | None, class_weight: Any = 1.0) -> None:
        self.reduction, self.divisor = reduction, 1.0
        if reduction == "mean":
            weight = class_weight if self.sample_weight is None else class_weight * self.sample_weight
            total = (self.kept * weight).sum(dtype=np.float64)
            total = total if abs(total) >= np.finfo(np.float64).tiny else 0  # 1 over less may be infinite
            self.divisor = float(total) if normalizer is None else normalizer

    def loss(self, losses: NDArray[Any], out: NDArray[Any] | None = None) -> Loss:
        losses = self.store(out, losses if self.sample_weight is None else self.sample_weight * losses)
        if self.reduction == "none":
            return losses
        return float(losses.sum(dtype=np.float64)) / self.divisor if self.divisor else 0.0

    def store(self, out: NDArray[Any] | None, column: NDArray[Any], if_not_kept: int = 0) -> NDArray[Any]:
        return store(out, np.where(self.kept, column, if_not_kept).reshape(self.shape[:-1]))

    def store_derivative(self, out: NDArray[Any] | None, matrix: NDArray[Any]) -> NDArray[Any]:
        if self.sample_weight is not None:
            matrix *= self.sample_weight
        if self.divisor not in (0, 1):
            matrix /= self.divisor
        matrix[~self.kept[:, 0] | (self.divisor == 0)] = 0
        return store(out, np.moveaxis(matrix.reshape(self.shape), -1, self.axis), self.dtype)
