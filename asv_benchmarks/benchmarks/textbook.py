"""Softmax cross-entropy as NumPy's users write it: the baseline, which stays the same over releases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cross_entropy(logits: NDArray[Any], targets: NDArray[np.int64], axis: int = -1) -> Any:
    shifted, exps, of_targets = _shifted(logits, targets, axis)
    return np.mean(np.log(exps.sum(axis=axis)) - shifted[of_targets])


def cross_entropy_with_grad(
    logits: NDArray[Any], targets: NDArray[np.int64], axis: int = -1
) -> tuple[Any, NDArray[Any]]:
    shifted, exps, of_targets = _shifted(logits, targets, axis)
    sums = exps.sum(axis=axis, keepdims=True)
    loss = np.mean(np.log(sums).squeeze(axis) - shifted[of_targets])
    grad = exps / sums
    grad[of_targets] -= 1
    grad /= targets.size
    return loss, grad


def _shifted(logits: NDArray[Any], targets: NDArray[np.int64], axis: int) -> tuple[Any, Any, Any]:
    shifted = logits - logits.max(axis=axis, keepdims=True)
    if axis == -1 and targets.ndim == 1:
        return shifted, np.exp(shifted), (np.arange(len(targets)), targets)
    of_targets = list(np.indices(targets.shape, sparse=True))
    of_targets.insert(axis % logits.ndim, targets)
    return shifted, np.exp(shifted), tuple(of_targets)
