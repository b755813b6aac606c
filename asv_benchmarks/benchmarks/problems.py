"""The arrays that every benchmark works on, and the check that they are worked on rightly."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastxent
from fastxent import reference

SHAPES = [(128, 10), (32768, 10), (8192, 100), (4096, 1000), (512, 50257)]
DTYPES = ["float32", "float64"]


@cache
def problem(shape: tuple[int, int], dtype: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Logits and targets, once fastxent and the reference have agreed on their loss and gradient."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(shape, dtype) * 3
    targets = rng.integers(0, shape[1], shape[0])
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    expected, expected_grad = reference.cross_entropy_with_grad(logits, targets)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-4, atol=1e-6 / shape[0])
    return logits, targets
