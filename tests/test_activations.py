"""softmax and its relatives, against the float64 reference, in every layout and with every output."""

import itertools
import math

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import fastxent
from fastxent import cpu, reference
from tests.layouts import LAYOUTS, spaced
from tests.measure import assert_same_bits, assert_ulp, exactly, ulp_error
from tests.tolerances import (
    CERTAIN_LOG_PROBABILITY_ABSOLUTE,
    CERTAIN_LOG_PROBABILITY_EPS,
    EQUAL_LOG_SOFTMAX_EPS,
    LOG_PROBABILITY_ULP,
    LOG_SUM_ULP,
    PROBABILITY_OR_ZERO,
    PROBABILITY_ULP,
    SIGMOID_ULP,
    SOFTMAX_GRAD_ULP,
    allowed_error,
    eps,
    log_sum_absolute,
    sum_is_one,
)

NAMES = ["softmax", "log_softmax", "logsumexp", "softmax_grad", "sigmoid"]
DTYPES = [np.float32, np.float64]
INF, NAN = np.inf, np.nan

each_function = pytest.mark.parametrize("name", NAMES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
float64_rarely = pytest.mark.parametrize(
    "dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.exhaustive)]
)
few_examples = settings(deadline=None, max_examples=60)


def arguments(name, shape, dtype, spread=6.0, axis=-1):
    """Logits; for softmax_grad probabilities and a gradient."""
    rng = np.random.default_rng(1)
    z = (rng.standard_normal(shape) * spread).astype(dtype)
    return (reference.softmax(z, axis=axis), np.sin(z)) if name == "softmax_grad" else (z,)


def call(name, *arrays, axis=-1, **options):
    return getattr(fastxent, name)(*arrays, axis=axis, **options)


def assert_as_reference(name, result, *arrays, axis=-1):
    with np.errstate(invalid="ignore"):
        truth = getattr(reference, name)(*(a.astype(np.float64) for a in arrays), axis=axis)
    assert result.dtype == arrays[0].dtype
    assert result.shape == truth.shape
    infinite = ~np.isfinite(truth)
    np.testing.assert_array_equal(result[infinite], truth[infinite])
    result, truth = (np.where(infinite, a.dtype.type(0), a) for a in (result, truth))
    error = np.abs(result.astype(np.float64) - truth)
    assert np.all(error <= allowed_error(name, truth, result.dtype, *arrays))


@each_dtype
def test_log_probability_of_a_nearly_certain_class_keeps_its_digits(dtype):
    """The float32 exponential of the largest class errs by 6e-8, more than all the others are worth here."""
    z = np.random.default_rng(3).standard_normal((300, 20)).astype(dtype)
    z[:, 4] += 25
    others = np.exp(np.delete(z.astype(np.float64) - z[:, 4:5], 4, axis=1)).sum(axis=1)
    np.testing.assert_allclose(
        fastxent.log_softmax(z)[:, 4],
        -np.log1p(others),
        rtol=CERTAIN_LOG_PROBABILITY_EPS * eps(dtype),
        atol=CERTAIN_LOG_PROBABILITY_ABSOLUTE,
    )


@each_dtype
def test_log_softmax_of_one_class_is_exactly_zero(dtype):
    z = np.random.default_rng(3).standard_normal((100, 1)).astype(dtype)
    assert not fastxent.log_softmax(z).any()
    assert np.array_equal(fastxent.logsumexp(z), z[:, 0])


@pytest.mark.slow
@float64_rarely
@pytest.mark.parametrize("n_classes", [2, 10, 63, 64, 1025])
def test_each_of_several_largest_logits_counts(n_classes, dtype):
    z = np.zeros((40, n_classes), dtype)
    z[20:, n_classes // 2 :] = -1
    for name in ("softmax", "log_softmax", "logsumexp"):
        assert_as_reference(name, call(name, z), z)


SIZES = [0, 1, 2, 4, 5, 15, 16, 17, 33, 63, 64, 65, 129, 800, 1024, 1025, 5000]
LARGE = [(128256, np.float32), pytest.param(128256, np.float64, marks=pytest.mark.exhaustive)]


@each_function
@pytest.mark.parametrize(("n_classes", "dtype"), [*itertools.product(SIZES, DTYPES), *LARGE])
def test_any_number_of_classes_and_rows_is_computed_as_by_the_reference(n_classes, dtype, name):
    at_most = min(30, 30_000 // max(n_classes, 1))  # one thread takes these, and its kernels are enough here
    for n_rows in (0, 1, 2, at_most) if at_most else (3,):
        arrays = arguments(name, (n_rows, n_classes), dtype)
        assert_as_reference(name, call(name, *arrays), *arrays)
    row = [a[0] for a in arguments(name, (1, n_classes), dtype)]
    assert_as_reference(name, call(name, *row), *row)


@each_dtype
@pytest.mark.parametrize("spread", [1e-3, 30.0, 250.0, 3000.0, 1e30])
def test_logits_of_any_size_are_computed_as_by_the_reference(spread, dtype):
    for name in ("softmax", "log_softmax", "logsumexp", "sigmoid"):
        for n_classes in (1, 10, 3000):
            z = arguments(name, (30, n_classes), dtype, spread)[0]
            for logits in (z, np.sort(z), -np.sort(-z)):
                assert_as_reference(name, call(name, logits), logits)


@pytest.mark.parametrize("offset", [0.0, -40.0, 1500.0, 1e5, 1e12])
def test_float64_is_as_exact_as_its_last_bits_allow(offset):
    z = np.random.default_rng(2).standard_normal((8, 13)) * 5 + offset
    z[:, 0] = np.arange(8) - 4
    with mpmath.workprec(300):
        rows = [[mpmath.mpf(x) for x in row] for row in z.tolist()]
        lse = np.array([mpmath.log(mpmath.fsum(map(mpmath.exp, row))) for row in rows])
        log_p = (np.array(rows) - lse[:, None]).ravel()
    assert_ulp(fastxent.softmax(z).ravel(), exactly(mpmath.exp, log_p), PROBABILITY_ULP)
    for name, budget, truth in (
        ("logsumexp", LOG_SUM_ULP, lse.astype(float)),
        ("log_softmax", LOG_PROBABILITY_ULP, log_p.astype(float)),
    ):
        error = np.abs(call(name, z).ravel() - truth)
        absolute = log_sum_absolute(np.float64, np.abs(z).max() if name == "logsumexp" else 0)
        assert np.all(error <= budget * eps(np.float64) * np.abs(truth) + absolute)
    logistic = exactly(lambda z: 1 / (1 + mpmath.exp(-z)), z.ravel())
    assert_ulp(fastxent.sigmoid(z).ravel(), logistic, SIGMOID_ULP, at=z.ravel())


@pytest.mark.slow
@each_dtype
@pytest.mark.parametrize("n_classes", [2, 40, 148, 1100])
@pytest.mark.parametrize("offset", [1e3, -1e7, 1e12, 1e17, -1e30])
def test_log_softmax_of_equal_logits_is_that_of_their_number_wherever_they_are(offset, n_classes, dtype):
    for logits in np.full((3, n_classes), offset, dtype), np.full((n_classes, 20), offset, dtype).T:
        expected = np.full_like(logits, -math.log(n_classes))
        np.testing.assert_allclose(
            call("log_softmax", logits), expected, rtol=EQUAL_LOG_SOFTMAX_EPS * eps(dtype)
        )


@each_function
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        *(pytest.param((3, 4, 2, 17), axis, marks=pytest.mark.exhaustive) for axis in (-1, 0, 1, 2, -3)),
        *(((3, 8, 17), axis) for axis in (-1, 0, 1, -3)),
        *(((2, 19, 2), -1), ((20, 17, 2), 0)),  # more rows than there are lanes
        *(((2, 3, 400), -1), ((2, 400, 3), 1), ((400, 2, 1), 0)),
    ],
)
def test_every_layout_and_output_gives_the_bits_of_a_contiguous_array(shape, axis, dtype, name):
    arrays = arguments(name, shape, dtype, axis=axis)
    expected = call(name, *arrays, axis=axis)
    assert_as_reference(name, expected, *arrays, axis=axis)
    for layouts in itertools.product(LAYOUTS.values(), repeat=len(arrays)):
        views = [layout(a) for layout, a in zip(layouts, arrays, strict=True)]
        for v in views:
            v.flags.writeable = False
        outs = [np.empty_like(expected), layouts[0](np.zeros_like(expected)), spaced(np.zeros_like(expected))]
        for out in [None, *outs]:
            result = call(name, *views, axis=axis, out=out)
            assert out is None or result is out
            assert_same_bits(result, expected)
        for view, array in zip(views, arrays, strict=True):
            assert_same_bits(view, array)
        for which in range(len(views) if name != "logsumexp" else 0):
            fresh = [layout(a) for layout, a in zip(layouts, arrays, strict=True)]
            call(name, *fresh, axis=axis, out=fresh[which])
            assert_same_bits(fresh[which], expected)


@each_function
def test_nothing_is_written_between_the_elements_of_out(name):
    arrays = arguments(name, (5, 40), np.float32)
    out = spaced(np.zeros_like(call(name, *arrays)))
    call(name, *arrays, out=out)
    assert np.isnan(out.base).sum() == out.base.size - out.size
    assert not np.isnan(out).any()


@each_function
def test_rows_that_share_memory_are_read_as_if_they_did_not(name):
    arrays = [np.broadcast_to(a, (4, 3, 21)) for a in arguments(name, (1, 1, 21), np.float32)]
    assert_same_bits(call(name, *arrays), call(name, *(a.copy() for a in arrays)))


def kernel(name, parallel, arrays, like):
    """What the public function gives, from its kernel itself."""
    out = np.zeros(like.shape, np.float64 if name == "logsumexp" else like.dtype)
    variant = (parallel, name, like.dtype.num, "alone")
    n_chunks, n_classes = 3 if parallel else 1, arrays[0].shape[-1]
    way = "short" if n_classes <= cpu.SHORT_ROW else "rows"
    if n_classes <= cpu.FEW_CLASSES:
        way = "lanes"
    if name in ("logsumexp", "log_softmax"):
        outs = (out, None) if name == "logsumexp" else (None, out)
        getattr(cpu, f"logsumexp_{way}")(variant, n_chunks, *arrays, *outs)
    elif name == "sigmoid":
        cpu.sigmoid_blocks(variant, arrays[0].reshape(-1), out.reshape(-1))
    elif name == "softmax":
        getattr(cpu, f"softmax_{way}")(variant, n_chunks, *arrays, out)
    else:
        cpu.softmax_grad_rows(variant, n_chunks, *arrays, out)
    return out.astype(like.dtype)


@each_function
@float64_rarely
def test_threads_change_no_bit(dtype, name):
    threads = numba.get_num_threads()
    for shape in ((130, 700), (33000, 3), (5, 20000)):
        arrays = arguments(name, shape, dtype)
        expected = call(name, *arrays)
        assert_same_bits(kernel(name, False, arrays, expected), expected)
        for count in range(1, threads + 1):
            numba.set_num_threads(count)
            try:
                assert_same_bits(kernel(name, True, arrays, expected), expected)
            finally:
                numba.set_num_threads(threads)


@each_dtype
@pytest.mark.parametrize("n_classes", [5, 16, 40, 1100, 2500])
@pytest.mark.parametrize("value", [-INF, INF, NAN])
def test_special_row_gives_what_it_should_and_leaves_other_rows_alone(value, n_classes, dtype):
    for place in {0, 3, n_classes // 2, n_classes - 1}:
        for name in ("softmax", "log_softmax", "logsumexp"):
            z = arguments(name, (6, n_classes), dtype)[0]
            clean = call(name, z)
            z[2, place] = value
            z[4] = value
            result = call(name, z)
            assert_same_bits(result[[0, 1, 3, 5]], clean[[0, 1, 3, 5]])
            whole = {"softmax": NAN, "log_softmax": NAN, "logsumexp": value}[name]
            assert_same_bits(result[4], np.full_like(result[4], whole))
            if value != -INF:
                assert_same_bits(result[2], np.full_like(result[2], whole))
            assert_as_reference(name, result[2:3], z[2:3])


@each_dtype
def test_masked_classes_have_probability_exactly_zero(dtype):
    z = arguments("softmax", (50, 300), dtype)[0]
    masked = np.random.default_rng(4).random(z.shape) < 0.5
    z[masked] = -INF
    assert np.all(fastxent.softmax(z)[masked] == 0)
    assert np.all(fastxent.log_softmax(z)[masked] == -INF)


@each_dtype
def test_blocks_of_masked_classes_do_not_spoil_the_rest_of_a_row(dtype):
    for start, stop in [(0, 1500), (1000, 2900), (2500, 4000)]:
        z = arguments("softmax", (3, 4000), dtype, spread=100)[0]
        z[:, start:stop] = -INF
        for name in ("softmax", "log_softmax", "logsumexp"):
            assert_as_reference(name, call(name, z), z)


@each_dtype
def test_sigmoid_of_infinities_and_nan_is_exact(dtype):
    z = np.array([-INF, INF, NAN, 0, -0.0, -1e30, 1e30] * 9, dtype)
    expected = np.array([0, 1, NAN, 0.5, 0.5, 0, 1] * 9, dtype)
    assert_same_bits(fastxent.sigmoid(z), expected)


@each_dtype
@pytest.mark.parametrize("value", [-INF, INF, NAN])
def test_softmax_grad_of_a_row_with_nan_or_infinities_leaves_other_rows_alone(value, dtype):
    p, g = arguments("softmax_grad", (4, 37), dtype)
    clean = fastxent.softmax_grad(p, g)
    g[1, 5] = p[2, 36] = value
    result = fastxent.softmax_grad(p, g)
    assert_same_bits(result[[0, 3]], clean[[0, 3]])
    assert np.isnan(result[1:3]).all()


shapes = st_numpy.array_shapes(min_dims=1, max_dims=3, max_side=40)
grid = st.integers(-6400, 6400).map(lambda n: np.float32(n / 64))  # sums of these are exact
logits_on_grid = st_numpy.arrays(np.float32, shapes, elements=grid)
any_logits = st_numpy.arrays(np.float32, shapes, elements=st.floats(-(2.0**60), 2.0**60, width=32))


@few_examples
@given(logits_on_grid, grid)
def test_softmax_does_not_change_when_all_logits_are_shifted(z, shift):
    shifted, p = fastxent.softmax(z + shift), fastxent.softmax(z).astype(float)
    may_be_zero = np.maximum(shifted, p) < PROBABILITY_OR_ZERO[z.dtype]
    assert np.all(ulp_error(shifted, p)[~may_be_zero] <= 2 * PROBABILITY_ULP)


@few_examples
@given(any_logits)
def test_probabilities_are_at_most_one_and_sum_to_one(z):
    p = fastxent.softmax(z).astype(float)
    assert np.all((p >= 0) & (p <= 1 + eps(np.float32)))
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=0, atol=sum_is_one(np.float32))


@few_examples
@given(any_logits, st.integers(0, 2**32))
def test_rows_of_softmax_grad_sum_to_zero(z, seed):
    p, g = fastxent.softmax(z), np.random.default_rng(seed).standard_normal(z.shape).astype(np.float32)
    grad = fastxent.softmax_grad(p, g).astype(float)
    sizes = (p * np.abs(g)).sum(axis=-1) + np.abs(grad).sum(axis=-1)
    assert np.all(np.abs(grad.sum(axis=-1)) <= SOFTMAX_GRAD_ULP * eps(np.float32) * sizes)


@few_examples
@given(any_logits)
def test_sigmoid_is_the_softmax_of_the_logit_and_zero(z):
    z = np.maximum(z, -86)  # a probability of softmax below 2^−125 may be 0
    two_classes = fastxent.softmax(np.stack([z, np.zeros_like(z)]), axis=0)[0]
    errors = ulp_error(fastxent.sigmoid(z), two_classes.astype(float))
    assert np.all(errors <= SIGMOID_ULP + PROBABILITY_ULP)


def test_a_matrix_as_output_is_handed_to_the_kernel_as_one_run_of_elements():
    z = np.arange(12, dtype=np.float32).reshape(3, 4)
    out = np.zeros_like(z).view(np.matrix)  # whose reshape keeps two axes
    expected = fastxent.sigmoid(z)
    np.testing.assert_array_equal(np.asarray(fastxent.sigmoid(z, out=out)), expected)
