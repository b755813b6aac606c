"""Operators and arithmetic functions: a lane is what NumPy gives, and what a float64 scalar gives."""

import itertools
import math
from functools import cache

import mpmath
import numpy as np
import pytest
from numba import njit

from fastxent import simd
from tests.measure import assert_same_bits, assert_ulp
from tests.tolerances import HORNER_ULP

DTYPES = [np.float32, np.float64]

STATEMENTS = [
    "c = a + b",
    "c = a - b",
    "c = a * b",
    "c = a / b",
    "c = -a",
    "c = 0.1 + a",
    "c = a + 0.1",
    "c = 2.5 - a",
    "c = a - 2",
    "c = 3 * a",
    "c = a * 0.3",
    "c = 1 / a",
    "c = a / 3",
    "c = a * 2.0; c += b; c -= 0.7; c *= b; c /= 3.0",
    *(f"c = where(a {sign} b, a, 2.0)" for sign in ("<", "<=", ">", ">=", "==", "!=")),
    *(f"c = where(0.5 {sign} a, 1.0, b)" for sign in ("<", "<=", ">", ">=", "==", "!=")),
    "c = where((a < b) & (b != 1.0), a, b)",
    "c = where((a < b) | (a > 1), a, b)",
    "c = where(2 > 1, a, b)",
    "c = maximum(a, b)",
    "c = minimum(a, b)",
    "c = maximum(a, 0.1) + maximum(0.1, b)",
    "c = minimum(a, 0.1) + minimum(0.1, b)",
    "c = positive_part(a)",
    "c = full_like(a, 0.1)",
    "c = constant(a, 0.1)",
    "c = from_bits(bits(a) >> 3)",
    "c = from_bits(bits(a) << 2)",
    "c = from_bits(bits(a) & 0x7FFFF | bits(b))",
    "c = from_bits((5 + bits(a)) * 3 - bits(b))",
    "i = bits(a); i += 3; i -= bits(b); i *= 5; i &= 0xFFF; i |= 32; c = to_float(i)",
    "c = to_float(bits(a) >> 20)",
    *(f"c = where(bits(a) {sign} bits(b), a, 2.0)" for sign in ("<", "<=", ">", ">=", "==", "!=")),
    "c = where(7 < bits(a), a, b)",
]
FMA_SUMMAND, FMA_FACTOR = "c = fma(a, b, 0.3)", "c = fma(a, 0.7, b)"
ONE_TERM, POSITIVE_TERMS = "c = polynomial(a, (0.5,))", "c = polynomial(b, (1.0, 2.0, 3.0))"
POLYNOMIAL, HORNER = "c = polynomial(a, (1.0, 0.3, 0.7))", "c = fma(fma(0.7, a, 0.3), a, 1.0)"
FUSED = [FMA_SUMMAND, FMA_FACTOR, ONE_TERM, POSITIVE_TERMS, POLYNOMIAL, HORNER]
NUMPY = {
    "where": np.where,
    "maximum": lambda x, y: np.where(x > y, x, y),
    "minimum": lambda x, y: np.where(x < y, x, y),
    "positive_part": lambda x: np.where(x < 0, x.dtype.type(0), x),
    "full_like": np.full_like,
    "constant": np.full_like,
    "bits": lambda x: x.view(f"i{x.itemsize}"),
    "from_bits": lambda i: i.view(f"f{i.itemsize}"),
    "to_float": lambda i: i.astype(f"f{i.itemsize}"),
}


def operands(dtype):
    """Every pair of some ordinary and all awkward numbers, in a whole number of vectors."""
    info = np.finfo(dtype)
    awkward = [math.nan, math.inf, -math.inf, 0.0, -0.0, float(info.tiny) / 4, -float(info.max), 1.0, 0.5]
    pairs = list(itertools.product([*awkward, -1.7, 1 + float(info.eps), 3.3, 1e-3], repeat=2))
    a, b = np.resize(np.array(pairs, dtype), (len(pairs) + 15 & -16, 2)).T.copy()
    return a, b


def every_statement(load, store):
    """A function of (a, b, out) that runs each statement on its own and stores its c in a row of out."""
    blocks = [f"{s}; {store.format(row=row)}" for row, s in enumerate([*STATEMENTS, *FUSED])]
    body = "\n        ".join([load, *blocks])
    source = f"def run(x, y, out):\n    for j in range(0, x.size, step(x)):\n        {body}\n"
    scope = dict(vars(simd))
    scope["step"] = simd.lanes_of if "pointer" in load else njit(lambda x: 1)
    exec(source, scope)
    return njit(error_model="numpy")(scope["run"])


@cache
def results(dtype, scalar=False):
    """The rows of c for all statements, in vectors or in scalars."""
    if scalar:
        run = every_statement("a, b = x[j], y[j]", "out[{row}, j] = c")
    else:
        load = "a, b = load(pointer(x), j), load(pointer(y), j)"
        run = every_statement(load, "store(row_pointer(out, {row}), j, c)")
    a, b = operands(dtype)
    out = np.zeros((len(STATEMENTS) + len(FUSED), a.size), dtype)
    run(a, b, out)
    return dict(zip([*STATEMENTS, *FUSED], out, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_lane_is_what_numpy_gives(statement, dtype):
    a, b = operands(dtype)
    scope = {**NUMPY, "a": a, "b": b}
    with np.errstate(all="ignore"):
        exec(statement, scope)
    expected = np.broadcast_to(np.asarray(scope["c"], dtype), a.shape)
    assert_same_bits(results(dtype)[statement], expected)


@pytest.mark.parametrize("statement", [*STATEMENTS, *FUSED])
def test_float64_scalar_has_the_bits_of_a_lane(statement):
    assert_same_bits(results(np.float64, scalar=True)[statement], results(np.float64)[statement])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("statement", [FMA_SUMMAND, FMA_FACTOR])
def test_fma_is_rounded_once_or_product_and_sum_apart(statement, dtype):
    a, b = operands(dtype)
    finite = np.flatnonzero((np.abs(a) < 10) & (np.abs(b) < 10) & (np.maximum(abs(a), abs(b)) > 1e-9))
    x, y, z = (a, b, np.full_like(a, 0.3)) if statement == FMA_SUMMAND else (a, np.full_like(a, 0.7), b)
    for i in finite:
        with mpmath.workprec(500):
            exact = mpmath.mpf(float(x[i])) * float(y[i]) + float(z[i])
        with mpmath.workprec(np.finfo(dtype).nmant + 1):
            once = float(+exact)
        assert float(results(dtype)[statement][i]) in (once, float(x[i] * y[i] + z[i]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_polynomial_is_horners_rule_with_the_constant_first(dtype):
    a, b = operands(dtype)
    assert_same_bits(results(dtype)[ONE_TERM], np.full_like(a, 0.5))
    assert_same_bits(results(dtype)[POLYNOMIAL], results(dtype)[HORNER])
    positive = (b > 0) & (b < 10)
    x = b[positive].astype(np.float64)
    truth = 1 + 2 * x + 3 * x**2
    assert_ulp(results(dtype)[POSITIVE_TERMS][positive], truth, HORNER_ULP[np.dtype(dtype)], at=x)


@njit
def halves(x, wide, narrowed, sums):
    z = simd.pointer(x)
    doubled = simd.widen(simd.load(z, 0))
    simd.store(simd.pointer(wide), 0, doubled / 3.0)
    simd.store(simd.pointer(narrowed), 0, simd.narrow(doubled / 3.0, z))
    sums[0] = simd.reduce_sum(simd.load(z, 0))
    sums[1] = simd.reduce_sum(doubled / 3.0)
    sums[2] = simd.reduce_max(simd.load(z, 0))
    gathered = simd.broadcast(-math.inf, z)
    for j in range(0, x.size, simd.lanes_of(z)):
        gathered = simd.maximum(simd.load(z, j), gathered)
    sums[3] = simd.reduce_max(gathered)
    sums[4] = simd.narrow(simd.widen(x[0]) / 3.0, z)


def folded(values):
    """The documented order: the upper half added to the lower until one is left."""
    while values.size > 1:
        lower, upper = np.split(values, 2)
        values = lower + upper
    return values[0]


@pytest.fixture(params=DTYPES)
def lanes(request):
    """Two vectors' worth of numbers whose sum depends on its order, and what `halves` makes of them."""
    rng = np.random.default_rng(7)
    n = 64 // np.dtype(request.param).itemsize
    x = (rng.standard_normal(2 * n) * 10.0 ** rng.integers(-3, 4, 2 * n)).astype(request.param)
    x[n + 1 : n + 4] = math.nan, 5e6, math.nan
    wide, narrowed, sums = np.zeros(n), np.zeros(n, x.dtype), np.zeros(5)
    halves(x, wide, narrowed, sums)
    return x, wide, narrowed, sums


def test_widened_lanes_compute_in_float64(lanes):
    x, wide, _, _ = lanes
    assert_same_bits(wide, x[: wide.size].astype(np.float64) / 3)


def test_narrow_rounds_once_to_the_dtype_of_the_pointer(lanes):
    x, wide, narrowed, sums = lanes
    assert_same_bits(narrowed, wide.astype(x.dtype))
    assert_same_bits(sums[4].astype(x.dtype), wide[0].astype(x.dtype))


def test_lanes_are_summed_in_the_documented_order(lanes):
    x, wide, _, sums = lanes
    assert_same_bits(sums[:2], np.array([folded(x[: wide.size]), folded(wide)], np.float64))


def test_nan_never_enters_maxima_gathered_with_it_first(lanes):
    assert lanes[3][3] == 5e6


def test_largest_lane_is_found_wherever_it_is():
    n = 16
    for position in range(n):
        x = np.zeros(n, np.float32)
        x[position] = 1
        wide, narrowed, sums = np.zeros(n), np.zeros(n, np.float32), np.zeros(5)
        halves(x, wide, narrowed, sums)
        assert sums[2] == sums[0] == 1


@njit
def none_above(x, bound):
    wide = simd.widest(simd.pointer(x))
    return simd.all_at_most(simd.load(simd.pointer(x), 0, wide), bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bound", [0.0, 1e-30, 0.75, 1e30])
def test_one_lane_above_the_bound_is_found_wherever_it_is(dtype, bound):
    bound = float(dtype(bound))
    x = np.full(64, bound, dtype)
    assert none_above(x, bound)
    for lane in range(simd.WIDTH * 64 // x.itemsize):
        for above in (np.nextafter(dtype(bound), dtype(np.inf)), np.inf):
            x[:] = 0
            x[lane] = above
            assert not none_above(x, bound)


def test_nothing_is_at_most_a_negative_bound():
    assert not none_above(np.zeros(64, np.float32), -1.0)


@njit
def chosen_integer(condition):
    return simd.where(condition, 2**60 + 1, 5)


def test_where_keeps_every_digit_of_integers():
    assert (chosen_integer(True), chosen_integer(False)) == (2**60 + 1, 5)
