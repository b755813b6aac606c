"""What options make of logits, against float64."""

import math

import numpy as np
import pytest
from numba import njit

from fastxent.cpu.derivatives import with_slope
from fastxent.cpu.options import PLAIN, transformed
from fastxent.simd import broadcast, lanes_of, load, pointer, store
from tests.tolerances import SLOPE_EPS

INF, NAN = math.inf, math.nan


@njit(error_model="numpy")
def slopes(x, options, out):
    z = pointer(x)
    for j in range(0, x.size, lanes_of(z)):
        u = transformed(load(z, j), options)
        store(pointer(out), j, with_slope(broadcast(1.0, z), u, options))


@pytest.mark.parametrize("cap", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slope_of_softcap_is_that_of_tanh_near_and_far_and_0_for_a_masked_class(dtype, cap):
    near, far = np.linspace(-0.99, 0.99, 64), np.linspace(-6, 6, 64)
    x = (cap * np.concatenate([near, far, [-INF, INF, 0.0, NAN] * 4])).astype(dtype)
    slope = np.empty_like(x)
    slopes(x, PLAIN._replace(softcap=cap), slope)
    expected = 1 / np.cosh(x.astype(np.float64) / cap) ** 2
    np.testing.assert_allclose(slope, expected, rtol=0, atol=SLOPE_EPS * np.finfo(dtype).eps)
    assert np.all(slope[np.isinf(x)] == 0.0)
