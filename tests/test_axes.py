"""The classes may lie on any axis and anywhere in memory: every way that the kernels then go."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastxent
from fastxent import _axes
from tests.layouts import LAYOUTS, spaced
from tests.measure import assert_same_bits
from tests.mixes import MIXES, Mix, assert_close, problem, solve, true_results
from tests.tolerances import REGROUPED_GRAD_IN_PLACE_EPS, eps

PLAIN = Mix({})
INNER = [1, 3, 15, 16, 17, 40]
FEW, MANY = 7, 129


def move_classes(rows, shape, axis):
    """An array of this shape with the classes on this axis, contiguous, from a matrix of rows."""
    batch = [size for i, size in enumerate(shape) if i != axis % len(shape)]
    return np.moveaxis(rows.reshape(*batch, -1), -1, axis).copy()


def as_rows(results, axis):
    """The results as those of a matrix of rows."""
    with_classes = ("grad", "hess_out", "targets_grad_out")
    return {
        name: np.moveaxis(value, axis, -1).reshape(-1, value.shape[axis])
        if name in with_classes
        else np.reshape(value, -1 if np.ndim(value) else ())
        for name, value in results.items()
    }


def assert_as_rows(mix, shape, axis, layout=np.copy, seed=0):
    """As specified for the same rows with the classes last; gives all that went in and came out."""
    n_classes = shape[axis]
    n_rows = int(np.prod(shape)) // n_classes
    z, t, options = problem(mix, n_rows, n_classes, seed=seed)
    logits = layout(move_classes(z, shape, axis))
    batch = logits.take(0, axis).shape
    targets = layout(move_classes(t, shape, axis)) if mix.soft else t.reshape(batch)
    more = {k: v.reshape(batch) if k == "sample_weight" else v for k, v in options.items()}
    results = solve(fastxent, mix, logits, targets, more, axis=axis)
    assert results["grad"].shape == shape
    assert results["loss_out"].shape == batch
    assert_close(as_rows(results, axis), true_results(mix, z, t, options), z.dtype, mix, z, t, options)
    return z, t, logits, targets, more, results


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("n_classes", [FEW, 63, 64, MANY, 1100])
def test_classes_first(n_classes, inner):
    z, t, *_, results = assert_as_rows(PLAIN, (n_classes, inner), 0)
    if n_classes <= 63 or inner < 16:
        # One engine, by gathers or strides or packed copies: the bits are those of contiguous rows.
        expected = solve(fastxent, PLAIN, z, t, {})
        for name, result in as_rows(results, 0).items():
            assert_same_bits(result, expected[name])


def test_classes_first_of_a_square_matrix_are_not_taken_for_rows():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(FEW, FEW)), rng.integers(0, FEW, FEW)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, axis=0)
    expected, expected_grad = fastxent.cross_entropy_with_grad(logits.T.copy(), targets)
    assert loss == expected
    assert_same_bits(grad.T, expected_grad)


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("n_classes", [FEW, MANY])
def test_classes_in_the_middle(n_classes, inner):
    for outer in (1, 2, 5):
        for axis in (1, -2):
            assert_as_rows(PLAIN, (outer, n_classes, inner), axis)


@pytest.mark.parametrize("n_classes", [FEW, MANY])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_on_any_of_four_axes_in_any_layout(layout, n_classes):
    for axis in range(4):
        shape = [3, 2, 4, 17][:3]
        shape.insert(axis, n_classes)
        assert_as_rows(PLAIN, tuple(shape), axis, LAYOUTS[layout])
    assert_as_rows(PLAIN, (3, n_classes, 2, 18), 1, LAYOUTS[layout])


@pytest.mark.parametrize("shape", [(2, MANY, 40), (4, FEW, 17), (3, MANY, 5)], ids=str)
def test_options_with_classes_on_axis_1(shape):
    """Soft targets and sample weights move along with the logits."""
    assert_as_rows(MIXES["all soft"], shape, 1)


@pytest.mark.parametrize("shape", [(2, MANY, 40), (5, FEW, 16), (5, FEW, 3), (2, MANY, 15)], ids=str)
def test_gradient_goes_in_place_and_into_any_other_layout(shape):
    *_, logits, targets, options, results = assert_as_rows(PLAIN, shape, 1)
    for layout in LAYOUTS.values():
        out = layout(np.zeros(shape))
        given = layout(logits)
        into = solve(fastxent, PLAIN, logits, targets, options, axis=1, grad_out=out)
        assert into["grad"] is out
        assert_same_bits(out, results["grad"])
        solve(fastxent, PLAIN, given, targets, options, axis=1, grad_out=given)
        if shape[1] == FEW:
            assert_same_bits(given, results["grad"])
        else:  # the layout of the logits decides which engine runs
            np.testing.assert_allclose(
                given, results["grad"], rtol=REGROUPED_GRAD_IN_PLACE_EPS * eps(np.float64), atol=0
            )


def test_in_place_over_strided_soft_targets_and_logits():
    mix = MIXES["all soft"]
    *_, logits, targets, options, expected = assert_as_rows(mix, (2, MANY, 40), 1)
    outs = {"grad_out": logits, "targets_grad_out": targets}
    results = solve(fastxent, mix, logits, targets, options, axis=1, **outs)
    assert results["grad"] is logits
    assert_same_bits(logits, expected["grad"])
    assert_same_bits(targets, expected["targets_grad_out"])


@pytest.mark.parametrize("n_classes", [FEW, MANY])
@pytest.mark.parametrize("inner", [3, 17])
def test_nothing_beside_the_gradient_is_written(n_classes, inner):
    logits = np.random.default_rng(0).normal(size=(2, n_classes, inner))
    targets = np.zeros((2, inner), int)
    targets[0, 1] = -100
    out = spaced(np.zeros(logits.shape))
    fastxent.cross_entropy_with_grad(
        logits, targets, axis=1, grad_out=out, loss_out=np.empty((2, inner)), lse_out=np.empty((2, inner))
    )
    assert not np.isnan(out).any()
    assert not out[0, :, 1].any()
    out[...] = np.nan
    assert np.isnan(out.base).all()


@pytest.mark.parametrize("n_classes", [FEW, MANY])
def test_ignored_positions_are_not_read(n_classes):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, n_classes, 40))
    targets = rng.integers(0, n_classes, (2, 40))
    ignored = rng.random((2, 40)) < 0.4
    clean = solve(fastxent, PLAIN, logits, np.where(ignored, -100, targets), {}, axis=1)
    np.moveaxis(logits, 1, -1)[ignored] = np.nan
    results = solve(fastxent, PLAIN, logits, np.where(ignored, -100, targets), {}, axis=1)
    for name, value in clean.items():
        assert_same_bits(results[name], value)
    assert not np.moveaxis(results["grad"], 1, -1)[ignored].any()
    assert np.moveaxis(results["grad"], 1, -1)[~ignored].all()


def test_the_first_bad_target_is_named_in_its_own_axes():
    targets = np.zeros((2, 40), int)
    targets[1, 7] = 129
    with pytest.raises(IndexError, match=r"targets\[1, 7\] is 129, expected a class from 0 to 128"):
        solve(fastxent, PLAIN, np.zeros((2, 129, 40)), targets, {}, axis=1)


def test_axes_merge_where_every_array_can_be_viewed_so():
    array = np.zeros((4, 7, 5))
    for merges in (array, array[:, :1], array[..., ::2], array[::2, :1], array[:1, ::2]):
        assert _axes.merged([merges, None, merges.copy()])[0].ndim == 2
    for apart in (array[:, ::2], as_strided(array, (4, 7, 5), (8, 8, 8)), np.moveaxis(array, 0, 1)):
        assert _axes.merged([apart])[0].ndim == 3
        view, nothing, other = _axes.merged([apart.copy(), None, apart])
        assert view.ndim == other.ndim == 3
        assert nothing is None
        assert np.shares_memory(other, apart)
    numbers = np.arange(120.0).reshape(2, 3, 4, 5)
    assert np.array_equal(_axes.merged([numbers])[0], numbers.reshape(24, 5))
    assert _axes.merged([np.zeros((2, 3, 2, 2, 5))])[0].shape == (24, 5)
    some = _axes.merged([numbers[:, :, :3]])[0]
    assert np.array_equal(some, numbers.reshape(6, 4, 5)[:, :3])
    assert np.shares_memory(some, numbers)
    rows, one_a_row = _axes.merged([numbers, numbers[..., :1]])  # as on a GPU
    assert rows.shape == (24, 5)
    assert one_a_row.shape == (24, 1)
    assert np.shares_memory(one_a_row, numbers)
