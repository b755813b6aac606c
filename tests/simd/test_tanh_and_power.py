"""tanh and power: their largest error, and what they make of zeros, infinities and NaN."""

import math

import mpmath
import numpy as np
import pytest
from numba import njit

from fastxent.simd import lanes_of, load, pointer, power, soft_capped, store, tanh
from tests.measure import assert_same_bits, assert_ulp, exactly
from tests.simd.float32_sweep import largest_error
from tests.simd.test_elementary import DTYPES, and_neighbours, apply, lanewise
from tests.tolerances import SOFT_CAPPED_ULP, TANH_ULP, power_ulp

pytestmark = pytest.mark.slow

INF, NAN, LN2 = math.inf, math.nan, math.log(2)


@njit
def tanh_of_float64(x):
    return math.tanh(x)


@njit
def lanewise_capped_by(x, cap, out):
    z = pointer(x)
    for j in range(0, x.size, lanes_of(z)):
        store(pointer(out), j, soft_capped(load(z, j), cap))


@njit
def lanewise_soft_capped(x, out):
    lanewise_capped_by(x, 1.0, out)


@njit(error_model="numpy")
def lanewise_power(x, y, out):
    z = pointer(x)
    for j in range(0, x.size, lanes_of(z)):
        store(pointer(out), j, power(load(z, j), y))


@njit(error_model="numpy")
def one_by_one(x, y, out):
    for j in range(x.size):
        out[0, j] = tanh(x[j])
        out[1, j] = power(x[j], y)


def raised(x, y):
    padded = np.resize(x, x.size + 15 & -16)
    out = np.full_like(padded, 99)
    lanewise_power(padded, y, out)
    return out[: x.size]


def awkward_for_tanh(dtype):
    """Where the integer part of 2x/ln2 changes and where the quotient does, small numbers and samples."""
    rng = np.random.default_rng(3)
    steps = (np.arange(60) + 31 / 64 + 0.5) * (LN2 / 2)
    binades = 2.0 ** np.arange(np.finfo(dtype).minexp, 5)
    x = and_neighbours([*steps, *steps - LN2 / 4, *binades, math.log(2) / 2, 9.02, 9.1, 19.06, 19.1], dtype)
    samples = [rng.uniform(0, 0.6, 20_000), rng.uniform(0, 20, 5000), np.exp(rng.uniform(-80, 0, 2000))]
    x = np.concatenate([x, *samples]).astype(dtype)
    return np.concatenate([x, -x])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_of_awkward_numbers_is_within_its_budget_and_odd(dtype):
    x = awkward_for_tanh(dtype)
    y = apply("tanh", x)
    assert_ulp(y, exactly(mpmath.tanh, x.astype(np.float64)), TANH_ULP, at=x)
    assert_same_bits(y[x.size // 2 :], -y[: x.size // 2])
    assert np.all(np.abs(y) <= 1)


LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("step", [521, pytest.param(1, marks=pytest.mark.exhaustive)], ids=["sampled", "all"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", ["tanh", "soft_capped"])
def test_tanh_of_no_float32_is_off_by_more_than_its_budget(name, sign, step):
    ends = (sign * 0.0, sign * LARGEST_FLOAT32)
    function = lanewise(name) if name == "tanh" else lanewise_soft_capped  # at 1
    error, worst = largest_error(function, tanh_of_float64, ends, step)
    print(f"largest error of {name} from {ends[0]} to {ends[1]}, every {step}: {error:.6f} ULP, at {worst!r}")
    assert 0 < error <= TANH_ULP


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (30.0, 1.0), (-1e30, -1.0)],
)
def test_tanh_of_special_value_is_exact(x, expected, dtype):
    assert_same_bits(apply("tanh", np.full(16, x, dtype)), np.full(16, expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_soft_capped_keeps_masked_classes_infinities_and_nan_whatever_is_beside_them(dtype):
    near, out = np.linspace(-0.49, 0.49, 16).astype(dtype), np.zeros(16, dtype)
    lanewise_soft_capped(near, out)
    for x, expected in ((-INF, -INF), (INF, 1.0), (NAN, NAN), (-30.0, -1.0)):
        mixed, result = near.copy(), np.zeros(16, dtype)
        mixed[3] = x
        lanewise_soft_capped(mixed, result)
        assert_same_bits(result, np.where(np.arange(16) == 3, dtype(expected), out))


CAPS = [1e-30, 1e-6, 1e-3, 2.0**-9, 0.01, 0.3, 3.0, 30.0, 50.0, 512.0, 513.0, 1e6, 1e30]


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_soft_capped_is_within_its_budget_for_small_and_large_caps(dtype, cap):
    ratios = np.concatenate([np.linspace(-1.01, 1.01, 601), np.linspace(-12, 12, 207), [0.0] * 16])
    x = (cap * ratios[: ratios.size & -16]).astype(dtype)
    out = np.empty_like(x)
    lanewise_capped_by(x, cap, out)
    truth = exactly(lambda z: cap * mpmath.tanh(z / cap), x.astype(np.float64))
    assert_ulp(out, truth, SOFT_CAPPED_ULP, at=x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_of_subnormal_number_is_the_number(dtype):
    x = np.finfo(dtype).smallest_subnormal * np.array([1, -1, 3, 1001], dtype)
    assert_same_bits(apply("tanh", x), x)


def awkward_for_power():
    """Numbers from 0 to 1: every binade, where the binades of the logarithm meet, and near 1."""
    rng = np.random.default_rng(4)
    binades = 2.0 ** np.arange(-1074, 1, 3)
    x = and_neighbours([*binades, *binades * math.sqrt(0.5)], np.float64)
    near_one = 1 - np.arange(200) * 2.0**-53
    samples = [
        rng.uniform(0, 1, 3000),
        np.exp(-rng.exponential(30, 2000)),
        1 - np.exp(-rng.exponential(10, 1000)),
    ]
    x = np.concatenate([x, near_one, *samples])
    return x[(x > 0) & (x <= 1)]


@pytest.mark.parametrize("y", [1e-3, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 50.0, 1e6])
def test_power_of_awkward_numbers_is_within_its_budget(y):
    x = awkward_for_power()
    truth, beyond = exactly(lambda x: x**y, x)
    normal = truth >= np.finfo(np.float64).tiny
    result = raised(x, y)
    assert_ulp(result[normal], (truth[normal], beyond[normal]), power_ulp(y), at=x[normal])
    assert np.all(result[~normal] <= np.finfo(np.float64).tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.0, 2.0, 0.0),
        (0.0, 1e-3, 0.0),
        (0.0, 0.0, 1.0),
        (-0.0, 0.5, 0.0),
        (0.3, 0.0, 1.0),
        (1.0, 0.0, 1.0),
        (1.0, 2.7, 1.0),
        (0.5, 3.0, 0.125),
        (0.25, 0.5, 0.5),
        (1e-30, 1.0, 1e-30),
        (1e-30, 1e3, 0.0),
        (0.7, 1e30, 0.0),
        (NAN, 2.0, NAN),
        (NAN, 0.0, NAN),
        (-0.1, 2.0, NAN),
    ],
)
def test_power_of_special_value_is_exact(x, y, expected, dtype):
    assert_same_bits(raised(np.full(16, x, dtype), y), np.full(16, expected, dtype))


def test_float64_scalar_has_the_bits_of_a_lane():
    special = np.array([0.0, -0.0, INF, -INF, NAN, 5e-324, -5e-324, 1e308])
    x = np.concatenate([awkward_for_tanh(np.float64), special])
    out = np.zeros((2, x.size))
    one_by_one(x, 2.5, out)
    assert_same_bits(out[0], apply("tanh", x))
    assert_same_bits(out[1], raised(x, 2.5))
