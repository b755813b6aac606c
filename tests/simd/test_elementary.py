"""exp and log: their largest error on awkward numbers, and what they make of infinities and NaN."""

import importlib.util
import math
from functools import cache
from pathlib import Path

import mpmath
import numpy as np
import pytest
from numba import njit

from fastxent import simd
from fastxent.simd import elementary, lanes_of, load, pointer, store
from tests.measure import assert_same_bits, assert_ulp, exactly
from tests.simd.float32_sweep import largest_error
from tests.tolerances import EXP_ULP, LOG1P_OF_FRACTION_ULP, LOG1P_ULP, LOG_ULP

DTYPES = [np.float32, np.float64]
LN2 = math.log(2)
INF, NAN = math.inf, math.nan
TRUTH = {"log1p_of_fraction": "log1p"}
"""Where it is not of the function's name."""
BUDGET = {"exp": EXP_ULP, "log": LOG_ULP, "log1p": LOG1P_ULP, "log1p_of_fraction": LOG1P_OF_FRACTION_ULP}


@cache
def lanewise(name):
    """The vector function over whole arrays of whole vectors."""
    function = getattr(simd, name)

    @njit(error_model="numpy")
    def run(x, out):
        z = pointer(x)
        for j in range(0, x.size, lanes_of(z)):
            store(pointer(out), j, function(load(z, j)))

    return run


@njit
def lanewise_exp_scaled(x, k, out):
    z, p = pointer(x), pointer(k)
    for j in range(0, x.size, lanes_of(z)):
        store(pointer(out), j, simd.exp_scaled(load(z, j), load(p, j)))


@njit
def powers_of_two(k, out):
    for j in range(k.size):
        out[0, j] = simd.two_to_minus(k[j])
        out[1, j] = simd.exp_scaled(0.0, k[j])


@njit(error_model="numpy")
def one_by_one(x, out):
    for j in range(x.size):
        out[0, j] = simd.exp(x[j])
        out[1, j] = simd.log(x[j])
        out[2, j] = simd.log1p(x[j])
        out[3, j] = simd.round_to_integer(x[j])


def apply(name, x):
    x = np.asarray(x)
    padded = np.resize(x, x.size + 15 & -16)
    out = np.full_like(padded, 99)
    lanewise(name)(padded, out)
    return out[: x.size]


def and_neighbours(points, dtype):
    """The points and the three numbers of the dtype on either side."""
    with np.errstate(all="ignore"):
        rounded = np.asarray(points, np.longdouble).astype(dtype)
        found = [rounded]
        for direction in (-INF, INF):
            for _ in range(3):
                found.append(np.nextafter(found[-1], dtype(direction)))
            found.append(rounded)
    numbers = np.unique(np.concatenate(found))
    return numbers[np.isfinite(numbers)]


def awkward(name, dtype):
    """Where the parts that the function is computed in meet, the edges of its range, and samples."""
    info, rng = np.finfo(dtype), np.random.default_rng(11)
    binades = 2.0 ** np.arange(info.minexp - info.nmant, info.maxexp)
    if name == "exp":
        lowest = (info.minexp - info.nmant - 2) * LN2
        steps = np.arange(2 * lowest / LN2 - 3, 0).round() * (LN2 / 2)
        x = and_neighbours([*steps, *-binades[binades < 1000], lowest, info.minexp * LN2, -0.0], dtype)
        samples = rng.uniform(lowest, 0, 3000), rng.uniform(-1, 0, 3000)
        return np.concatenate([x[x <= 0], *samples]).astype(dtype)
    near_one = 1 + np.arange(-40, 40) * float(info.eps) / 2
    x = and_neighbours([*binades, *binades * math.sqrt(0.5), *near_one, *binades * (1 + info.eps)], dtype)
    lifted = rng.uniform(0.4, 1.6, 3000), np.exp(rng.uniform(-85, 85, 3000)), rng.uniform(0.65, 0.75, 1000)
    x = np.concatenate([x[x > 0], *lifted]).astype(dtype)
    return x[x <= 1] if name == "log1p_of_fraction" else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BUDGET)
def test_error_on_awkward_numbers_is_within_its_budget(name, dtype):
    x = awkward(name, dtype)
    if dtype == np.float64:
        truth = exactly(getattr(mpmath, TRUTH.get(name, name)), x)
    else:
        with np.errstate(all="ignore"):
            truth = getattr(np, TRUTH.get(name, name))(x.astype(np.float64))
    assert_ulp(apply(name, x), truth, BUDGET[name], at=x)


@pytest.mark.parametrize("name", ["log", "log1p"])
def test_error_over_every_binade_of_float32_is_within_its_budget(name):
    x = np.arange(1, 0x7F800000, 1021, dtype=np.int32).view(np.float32)
    assert_ulp(apply(name, x), getattr(np, name)(x.astype(np.float64)), BUDGET[name], at=x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_scaled_loses_nothing_to_the_scaling(dtype):
    info, rng = np.finfo(dtype), np.random.default_rng(5)
    largest_k = 512 if dtype == np.float32 else 4096
    k = rng.integers(-largest_k, largest_k + 1, 6000)
    k[:3000:3], k[1:3000:3], k[2:3000:3] = largest_k, -largest_k, 0
    result_exponent = rng.uniform(info.minexp - info.nmant - 3, info.maxexp - info.nmant - 2, k.size)
    x = ((k + result_exponent) * LN2).astype(dtype)
    x[:12] = [(largest_k + e) * LN2 for e in range(-6, 6)]
    out = np.zeros_like(x)
    lanewise_exp_scaled(x, k.astype(dtype), out)
    truth = exactly(lambda x, k: mpmath.exp(x) * mpmath.mpf(2) ** -k, x.astype(np.float64), k)
    assert_ulp(out, truth, EXP_ULP, at=x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_scaled_keeps_infinities_and_nan_and_overflows_to_infinity(dtype):
    largest_k = 512 if dtype == np.float32 else 4096
    k = np.repeat(np.array([-largest_k, -1, 0, 1, 77, largest_k], dtype), 16)
    enough = (np.finfo(dtype).maxexp - np.finfo(dtype).nmant) * LN2
    for value, expected in [(-INF, 0.0), (-np.finfo(dtype).max, 0.0), (INF, INF), (NAN, NAN)]:
        out = np.full_like(k, 99)
        lanewise_exp_scaled(np.full_like(k, value), k, out)
        assert_same_bits(out, np.full_like(k, expected))
    lanewise_exp_scaled((k * LN2 + enough).astype(dtype), k, out)
    assert np.all(out == INF)


@njit
def lanewise_exp_of_reduced(x, k, out):
    z, p = pointer(x), pointer(k)
    for j in range(0, x.size, lanes_of(z)):
        below = simd.below_overflow(load(z, j), load(p, j))
        store(pointer(out), j, simd.exp_of_reduced(*simd.reduced_for_exp(below, load(p, j))))


def test_powers_of_two_are_exact_and_have_the_bits_of_exp_scaled():
    k = np.arange(-969.0, 4097.0)
    out = np.empty((2, k.size))
    powers_of_two(k, out)
    assert_same_bits(out[0], np.ldexp(1.0, -k.astype(int)))
    assert_same_bits(out[0], out[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_of_reduced_has_the_bits_of_exp_scaled_and_no_subnormal_ones(dtype):
    info, rng = np.finfo(dtype), np.random.default_rng(6)
    largest_k = 512 if dtype == np.float32 else 4096
    k = rng.integers(-largest_k, largest_k + 1, 6000).astype(dtype)
    x = ((k + rng.uniform(info.minexp - 40, 100, k.size)) * LN2).astype(dtype)
    x[-16:], k[-16:] = np.repeat([-INF, NAN, INF, -info.max], 4), np.tile([-largest_k, 0, 7, largest_k], 4)
    out, expected = np.full_like(x, 99), np.full_like(x, 99)
    lanewise_exp_scaled(x, k, expected)
    lanewise_exp_of_reduced(x, k, out)
    edge = 2.0 ** (info.minexp + 0.5)
    below, above = expected < edge * 0.999, ~(expected < edge * 1.001)
    assert not out[below].any()
    assert_same_bits(out[above], expected[above])
    assert not np.any((out > 0) & (out < info.tiny))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("exp", -INF, 0.0),
        ("exp", NAN, NAN),
        ("exp", 0.0, 1.0),
        ("exp", -0.0, 1.0),
        ("exp", -1e30, 0.0),
        ("log", 0.0, -INF),
        ("log", -0.0, -INF),
        ("log", INF, INF),
        ("log", NAN, NAN),
        ("log", 1.0, 0.0),
        ("log", -1e-40, NAN),
        ("log", -2.0, NAN),
        ("log", -INF, NAN),
        ("log1p", 0.0, 0.0),
        ("log1p", -1.0, -INF),
        ("log1p", INF, INF),
        ("log1p", NAN, NAN),
        ("log1p", 1e-37, np.float32(1e-37)),
        ("log1p_of_fraction", 0.0, 0.0),
        ("log1p_of_fraction", NAN, NAN),
    ],
)
def test_special_value_is_exact(name, x, expected, dtype):
    lane = dtype(x if name != "log1p" or x != 1e-37 else expected)
    assert_same_bits(apply(name, np.full(16, lane)), np.full(16, dtype(expected)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_to_integer_takes_ties_to_even(dtype):
    limit = 2.0 ** (22 if dtype == np.float32 else 51)
    halves = np.arange(-41, 42) / 2
    x = and_neighbours([*halves, *(limit - 1 + halves[:40] / 40), *(1 - limit - halves[:40] / 40)], dtype)
    assert np.all(apply("round_to_integer", x) == np.rint(x))
    assert np.all(apply("round_to_integer", x) == x.astype(np.float64).round())


@pytest.mark.parametrize("dtype", DTYPES)
def test_leading_power_is_the_largest_power_of_two_up_to_a_number(dtype):
    x = and_neighbours([0.0, *2.0 ** np.arange(-120, 121, 7), 1.5, 3.0, 0.7], dtype)
    x = x[(x == 0) | (x >= np.finfo(dtype).tiny)]
    expected = np.where(x == 0, 0, np.ldexp(dtype(0.5), np.frexp(x)[1]))
    assert np.array_equal(apply("leading_power", x), expected)


def test_float64_scalar_has_the_bits_of_a_lane():
    special = [NAN, INF, -INF, 0.0, -0.0, -1.0, -1.5]
    x = np.concatenate([awkward("exp", np.float64), awkward("log", np.float64), special])
    x = np.concatenate([x, np.zeros(-x.size % 16)])
    scalars = np.zeros((4, x.size))
    one_by_one(x, scalars)
    for name, row in zip(["exp", "log", "log1p", "round_to_integer"], scalars, strict=True):
        assert_same_bits(row, apply(name, x))


@njit
def exp_of_float64(x):
    return math.exp(x)


@pytest.mark.parametrize("step", [521, pytest.param(1, marks=pytest.mark.exhaustive)], ids=["sampled", "all"])
def test_exp_of_no_float32_is_off_by_more_than_its_budget(step):
    error, worst = largest_error(lanewise("exp"), exp_of_float64, (-0.0, -INF), step)
    print(f"largest error of exp up to 0, every {step}: {error:.6f} ULP, at {worst!r}")
    assert 0 < error <= EXP_ULP
    assert_same_bits(apply("exp", np.full(16, -INF, np.float32)), np.zeros(16, np.float32))


@njit
def log1p_of_float64(x):
    return math.log1p(x)


@pytest.mark.parametrize("step", [521, pytest.param(1, marks=pytest.mark.exhaustive)], ids=["sampled", "all"])
def test_log1p_of_no_fraction_of_float32_is_off_by_more_than_its_budget(step):
    error, worst = largest_error(lanewise("log1p_of_fraction"), log1p_of_float64, (0.0, 1.0), step)
    print(f"largest error of log1p from 0 to 1, every {step}: {error:.6f} ULP, at {worst!r}")
    assert 0 < error <= LOG1P_OF_FRACTION_ULP


@pytest.mark.exhaustive
def test_constants_are_those_that_the_derivation_prints():
    path = Path(__file__).parent / "derive_coefficients.py"
    spec = importlib.util.spec_from_file_location("derive_coefficients", path)
    derive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(derive)
    for dtype, c, digits, leading_bits in (
        (np.float32, elementary._FLOAT32, 9, 13),
        (np.float64, elementary._FLOAT64, 17, 40),
    ):
        exp = derive.exp_coefficients(len(c.exp) - 1)
        log = derive.log_coefficients(len(c.log), math.sqrt(2))
        log1p = derive.log_coefficients(len(c.log1p), 2)
        tanh = derive.tanh_coefficients(len(c.tanh))
        near_0 = derive.tanh_near_0_coefficients(len(c.tanh_near_0)) if c.tanh_near_0 else []
        all_of_them = *derive.split_ln2(leading_bits), *exp, *log, *log1p, *tanh, *near_0
        derived = [mpmath.nstr(d, digits) for d in all_of_them]
        constants = c.ln2_high, c.ln2_low, *c.exp, *c.log, *c.log1p, *c.tanh, *c.tanh_near_0
        assert_same_bits(np.array(derived, dtype), np.array(constants, dtype))
