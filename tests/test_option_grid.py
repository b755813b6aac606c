"""Options × dtypes × axes × shapes as hypothesis draws them, against the specification in float64.

Nearly every draw compiles a kernel of its own, so these are behind the mark "exhaustive"; the ordinary
run tests every option in the few mixes of `mixes`.
"""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import fastxent
from tests.mixes import Mix, assert_close, problem, solve, true_results
from tests.test_axes import as_rows, move_classes

VALUES = {
    "label_smoothing": st.sampled_from([0.01, 0.3, 1.0]),
    "focal_gamma": st.sampled_from([0.5, 2.0]),
    "z_loss": st.sampled_from([1e-4, 0.5]),
    "softcap": st.sampled_from([3.0, 30.0]),
    "logit_scale": st.sampled_from([0.25, 2.0]),
}


@st.composite
def mixes(draw):
    """Any options and outputs that may go together."""
    soft = draw(st.booleans())
    options = {name: draw(value) for name, value in VALUES.items() if draw(st.booleans())}
    outputs = ["entropy_out", "targets_grad_out" if soft else "rank_out"]
    if soft:
        options.pop("focal_gamma", None)
    if not {"focal_gamma", "softcap"} & set(options):
        outputs.append("hess_out")
    weights = tuple(name for name in ("weight", "sample_weight") if draw(st.booleans()))
    return Mix(options, weights, tuple(name for name in outputs if draw(st.booleans())), soft)


@st.composite
def shapes(draw):
    """Of two to four axes, the classes on any: few and many, with neighbouring rows and without."""
    batch = draw(st.lists(st.sampled_from([1, 2, 5, 17]), min_size=1, max_size=3))
    axis = draw(st.integers(0, len(batch)))
    n_classes = draw(st.sampled_from([1, 2, 10, 63, 96, 97, 130, 1030]))
    return (*batch[:axis], n_classes, *batch[axis:]), axis - draw(st.sampled_from([0, len(batch) + 1]))


def solved(dtype, mix, shape_and_axis, reduction):
    """The results for rows of this dtype, laid out so; the rows, and what else the problem has."""
    shape, axis = shape_and_axis
    rows, t, options = problem(mix, int(np.prod(shape)) // shape[axis], shape[axis], dtype)
    logits = move_classes(rows, shape, axis)
    batch = logits.take(0, axis).shape
    targets = move_classes(t, shape, axis) if mix.soft else t.reshape(batch)
    more = {k: v.reshape(batch) if k == "sample_weight" else v for k, v in options.items()}
    options["reduction"] = reduction
    results = solve(fastxent, mix, logits, targets, more, axis=axis, reduction=reduction)
    return as_rows(results, axis), rows, t, options


# A failure is not shrunk: each step of that would compile another kernel.
as_drawn = settings(deadline=None, derandomize=True, phases=[Phase.generate])
draws = given(mix=mixes(), shape_and_axis=shapes(), reduction=st.sampled_from(["mean", "sum", "none"]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(as_drawn, max_examples=40)
@draws
def test_any_options_of_any_shape_and_axis_are_as_specified(dtype, mix, shape_and_axis, reduction):
    results, *problem = solved(dtype, mix, shape_and_axis, reduction)
    assert_close(results, true_results(mix, *problem), dtype, mix, *problem)


@pytest.mark.exhaustive
@settings(as_drawn, max_examples=20)
@draws
def test_half_types_of_any_shape_and_axis_give_float32_rounded_once(mix, shape_and_axis, reduction):
    results, rows, t, options = solved(np.float16, mix, shape_and_axis, reduction)
    wide = t.astype(np.float32) if mix.soft else t
    expected = solve(fastxent, mix, rows.astype(np.float32), wide, options)
    for name, result in results.items():
        np.testing.assert_array_equal(result, np.asarray(expected[name]).astype(np.asarray(result).dtype))
