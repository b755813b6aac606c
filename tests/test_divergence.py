"""The Kullback-Leibler divergence and its gradient, against the float64 reference.

Nearly every call has sample weights and asks for the same outputs: each other kind of call is compiled anew.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from fastxent import cross_entropy_with_grad, entropy, kl_divergence, kl_divergence_with_grad, reference
from tests.layouts import LAYOUTS
from tests.measure import assert_same_bits
from tests.mixes import LANES, ROWS, SHORT
from tests.numerical import numerical_grad, numerical_problem
from tests.tolerances import (
    DIVERGENCE_EPS,
    NUMERICAL_GRAD_ABSOLUTE,
    OPTIONS_RELATIVE,
    SUM_RELATIVE,
    eps,
    relatively,
)

INF, NAN = np.inf, np.nan


def dtype_of(name):
    return np.dtype(name if name != "bfloat16" else pytest.importorskip("ml_dtypes").bfloat16)


def problem(n_rows, n_classes, dtype=np.float64, spread=4.0):
    """Logits, targets with a third of their masses 0 that do not sum to 1, and sample weights."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, spread, (n_rows, n_classes)).astype(dtype)
    t = np.where(rng.random(z.shape) < 1 / 3, 0, rng.uniform(0, 4 / n_classes, z.shape)).astype(dtype)
    return z, t, np.arange(n_rows) % 5 / 2


def row_by_row(z, t, s=None, **options):
    """Divergences, and the gradient of their sum."""
    s = np.ones(len(z)) if s is None else s
    return kl_divergence_with_grad(z, t, sample_weight=s, reduction="none", **options)


def assert_as_specified(results, z, t, s):
    """To `OPTIONS_RELATIVE` of the terms that each result is the sum of."""
    dtype, z, t = z.dtype, z.astype(np.float64), t.astype(np.float64)
    losses, grad = reference.kl_divergence_with_grad(z, t, sample_weight=s, reduction="none")
    p = reference.softmax(z)
    sizes = 1 - np.log(np.where(t > 0, p * t, 1))
    relative = OPTIONS_RELATIVE[results[0].dtype]
    assert np.all(np.abs(results[0] - losses) <= relative * s * (t * sizes).sum(axis=1))
    if dtype.itemsize == 2:  # the gradient is rounded once more
        relative = float(np.spacing(dtype.type(1)))
    sizes = t + p * t.sum(axis=1, keepdims=True)
    assert np.all(np.abs(results[1] - grad) <= relative * s[:, None] * sizes)


@pytest.mark.parametrize(
    ("name", "n_classes"), [("float64", LANES), ("float32", SHORT), ("float32", ROWS), ("bfloat16", LANES)]
)
def test_divergence_and_gradient_are_those_of_the_reference(name, n_classes):
    z, t, s = problem(38, n_classes, dtype_of(name))  # so few that one thread takes them
    z[(t == 0) & (np.arange(n_classes) % 2 == 0)] = -INF
    kept = s != 0
    z[~kept] = t[~kept] = NAN
    losses, grad = row_by_row(z, t, s)
    assert losses.dtype == (np.float32 if z.dtype.itemsize == 2 else z.dtype)
    assert grad.dtype == z.dtype
    grad = grad.astype(np.float64)
    assert not losses[~kept].any()
    assert not grad[~kept].any()
    assert_as_specified((losses[kept], grad[kept]), z[kept], t[kept], s[kept])


@pytest.mark.parametrize(
    ("dtype", "n_classes"), [(np.float64, LANES), (np.float32, SHORT), (np.float32, ROWS)]
)
def test_special_values_give_what_the_formula_says(dtype, n_classes):
    """Of three classes; the others are impossible and have no mass."""
    ln3 = math.log(3)
    cases = [  # logits, targets, divergence, gradient
        ([0, ln3, -INF], [1 / 2, 1 / 2, 0], math.log1p(1 / 3) / 2, [-1 / 4, 1 / 4, 0]),
        ([0, 0, -INF], [1 / 2, 1 / 4, 1 / 4], INF, [0, 1 / 4, -1 / 4]),
        ([0, ln3, -INF], [0, 0, 0], 0, [0, 0, 0]),
        ([5, -INF, -INF], [1, 0, 0], 0, [0, 0, 0]),
        ([0, 0, 0], [0, 2, 0], 2 * np.log(6), [2 / 3, -4 / 3, 2 / 3]),
        ([-INF, -INF, -INF], [1, 0, 0], NAN, [NAN, NAN, NAN]),
        ([0, NAN, 0], [1, 0, 0], NAN, [NAN, NAN, NAN]),
        ([0, INF, 0], [1, 0, 0], NAN, [NAN, NAN, NAN]),
    ]
    z, t = np.full((len(cases), n_classes), -INF, dtype), np.zeros((len(cases), n_classes), dtype)
    for row, (logits, targets, _, _) in enumerate(cases):
        z[row, -3:], t[row, -3:] = logits, targets
    losses, grad = row_by_row(z, t)
    np.testing.assert_allclose(losses, [case[2] for case in cases], rtol=DIVERGENCE_EPS * eps(dtype), atol=0)
    np.testing.assert_allclose(
        grad[:, -3:], [case[3] for case in cases], rtol=DIVERGENCE_EPS * eps(dtype), atol=0
    )
    assert not grad[:5, :-3].any()
    t[:, -1] = -1
    assert np.isnan(row_by_row(z, t)[0]).all()


def test_it_is_the_cross_entropy_less_the_entropy_of_the_targets():
    z, t, _ = problem(40, LANES)
    t /= t.sum(axis=1, keepdims=True)
    loss, grad = kl_divergence_with_grad(z, t, sample_weight=np.ones(40))
    expected, expected_grad = cross_entropy_with_grad(z, t)
    assert loss == relatively(expected - entropy(t).mean(), SUM_RELATIVE)
    assert_same_bits(grad, expected_grad)


few_classes = st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=40)
any_logits = st_numpy.arrays(np.float64, few_classes, elements=st.floats(-100, 100))


@settings(deadline=None, max_examples=60)
@given(any_logits, st.integers(0, 2**32), st.sampled_from([1e-3, 1.0, 30.0]))
def test_divergence_of_distributions_is_not_negative_and_that_from_itself_zero(z, seed, distance):
    moved = z + np.random.default_rng(seed).normal(0, distance, z.shape)
    rounding = OPTIONS_RELATIVE[np.dtype(np.float64)]
    assert np.all(kl_divergence(z, reference.softmax(moved), reduction="none") >= -rounding)
    itself = kl_divergence(z, reference.softmax(z), reduction="none")
    np.testing.assert_allclose(itself, 0, atol=rounding)


def test_gradient_is_the_numerical_one():
    z, _, t = numerical_problem()
    options = {"sample_weight": [1, 0, 2, 3]}
    _, grad = kl_divergence_with_grad(z, t, **options)
    expected = numerical_grad(lambda z: kl_divergence(z, t, **options), z)
    np.testing.assert_allclose(grad, expected, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)


def test_reductions_divide_loss_and_gradient_alike():
    z, t, s = problem(40, LANES)
    losses, grads = row_by_row(z, t, s)
    for options, divisor in [({"reduction": "sum"}, 1), ({}, s.sum()), ({"normalizer": 8.0}, 8)]:
        loss, grad = kl_divergence_with_grad(z, t, sample_weight=s, **options)
        assert type(loss) is float
        assert loss == relatively(losses.sum() / divisor, SUM_RELATIVE)
        assert loss == kl_divergence(z, t, sample_weight=s, **options)
        np.testing.assert_allclose(grad, grads / divisor, rtol=SUM_RELATIVE)
    nothing = kl_divergence_with_grad(z, t, sample_weight=np.zeros(40))
    assert nothing[0] == 0.0
    assert not nothing[1].any()


def test_rows_without_weights_count_one_each():
    z, t, _ = problem(40, LANES)
    assert kl_divergence(z, t) == relatively(kl_divergence(z, t, reduction="none").mean(), SUM_RELATIVE)
    assert kl_divergence(z[:0], t[:0]) == 0.0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_may_be_on_any_axis_in_any_layout_and_be_overwritten(layout):
    z, t, s = problem(6 * 5, LANES)
    expected, expected_grad = row_by_row(z, t, s)
    z, t, grad = (np.moveaxis(a.reshape(6, 5, LANES), -1, 1) for a in (z, t, expected_grad))
    for axis in (1, -2):
        logits, targets = LAYOUTS[layout](z), LAYOUTS[layout](t)
        targets.flags.writeable = False
        for out in (None, np.zeros(z.shape), logits):
            options = {"axis": axis, "sample_weight": s.reshape(6, 5), "grad_out": out}
            losses, result = kl_divergence_with_grad(logits, targets, reduction="none", **options)
            assert result is out or out is None
            assert_same_bits(losses, expected.reshape(6, 5))
            assert_same_bits(result, grad)


Z, T = np.zeros((4, 5)), np.full((4, 5), 0.2)
BAD_CALLS = {
    "integer logits": ((Z.astype(int), T), {}, TypeError, "logits must be float32"),
    "integer targets": ((Z, np.zeros(4, int)), {}, TypeError, "targets must be float32, .* got int64"),
    "one-hot integers": (
        (Z, np.eye(4, 5, dtype=int)),
        {},
        TypeError,
        "targets must be float32, .* got int64",
    ),
    "targets of another shape": ((Z, T[:3]), {}, ValueError, r"must have shape \(.*, that of logits"),
    "axis": ((Z, T), {"axis": 2}, ValueError, "axis must be from -2 to 1"),
    "sample weight of another shape": ((Z, T), {"sample_weight": [1]}, ValueError, "must have shape"),
    "negative sample weight": ((Z, T), {"sample_weight": [1, 1, 1, -1]}, ValueError, "at least 0, got -1.0"),
    "reduction": ((Z, T), {"reduction": "batchmean"}, ValueError, "reduction must be"),
    "normalizer": ((Z, T), {"normalizer": 0.0}, ValueError, "normalizer must be finite"),
    "normalizer of a sum": ((Z, T), {"normalizer": 2, "reduction": "sum"}, ValueError, "normalizer divides"),
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_bad_argument_is_refused_before_anything_is_written(bad):
    arrays, options, error, message = BAD_CALLS[bad]
    with pytest.raises(error, match=message):
        kl_divergence(*arrays, **options)
    out = np.full(Z.shape, 7.0)
    with pytest.raises(error, match=message):
        kl_divergence_with_grad(*arrays, grad_out=out if arrays[0].dtype == out.dtype else None, **options)
    assert np.all(out == 7)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (lambda z, t, s: t, ValueError, "grad_out must not overlap targets"),
        (lambda z, t, s: s, ValueError, "grad_out must not overlap sample_weight"),
        (lambda z, t, s: z[::-1], ValueError, "grad_out must be logits itself"),
        (lambda z, t, s: z.astype(np.float32), TypeError, "grad_out must be float64"),
        (lambda z, t, s: np.zeros((5, 4)), ValueError, "grad_out must have shape"),
    ],
)
def test_output_that_lies_on_another_array_is_refused(out, error, message):
    z, t, s = Z.copy(), T.copy(), np.ones((4, 5))
    with pytest.raises(error, match=message):
        kl_divergence_with_grad(z, t, sample_weight=s[:, 0], grad_out=out(z, t, s))
    assert_same_bits(z, Z)
    assert_same_bits(t, T)
    assert np.all(s == 1)


@pytest.mark.parametrize("function", [kl_divergence, kl_divergence_with_grad])
def test_an_empty_list_is_no_distribution_for_each_of_no_rows(function):
    with pytest.raises(ValueError, match=r"must have shape \(0, 5\), that of logits"):
        function(Z[:0], [])
