"""What is wrong with a call in an `@njit` function is said, as from Python, or when it is compiled."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

import fastxent
from tests.compiled import in_place, loss_of, with_numbers, with_options
from tests.mixes import ALL_WITH_HESSIAN, problem

WRONG = {
    "targets[1] is 7, expected a class from 0 to 6 or ignore_index (-100)": (IndexError, {"targets": 7}),
    "label_smoothing must be from 0 to 1, got 1.5": (ValueError, {"label_smoothing": 1.5}),
    "z_loss must be finite and at least 0, got nan": (ValueError, {"z_loss": np.nan}),
    "logit_scale must be from 7.46e-155 to 1.34e+154 for logits of this dtype, got 0.0": (
        ValueError,
        {"logit_scale": 0.0},
    ),
    "weight must be finite and at least 0, got -1.0 at flat index 3": (ValueError, {"weight": -1}),
    "the largest weight must be from 7.46e-155 to 1.34e+154 for logits of this dtype, got 1e+200": (
        ValueError,
        {"weight": 1e200},
    ),
    "weight must have shape (7,), got (8,)": (ValueError, {"weight": np.ones(8)}),
    "sample_weight must have shape (9,), got (8,)": (ValueError, {"sample_weight": np.ones(8)}),
}


OUTPUTS = "loss_out", "lse_out", "rank_out", "entropy_out", "grad_out", "hess_out"


def out_of(name, n):
    """An array of fives for so many rows, strided as all of them are: nothing is compiled twice."""
    shape = (n, 7) if name in ("grad_out", "hess_out") else (n,)
    return np.full((*shape, 2), 5, int if name == "rank_out" else float)[..., 0]


@pytest.mark.parametrize("message", WRONG)
def test_a_bad_value_is_named_before_anything_is_written(message):
    error, wrong = WRONG[message]
    logits, targets, options = problem(ALL_WITH_HESSIAN, 9, 7, masks=False)
    for name, value in wrong.items():
        if name == "targets":
            targets[1] = value
        elif name == "weight" and np.isscalar(value):
            options["weight"][3] = value
        else:
            options[name] = value
    outs = [out_of(name, 9) for name in OUTPUTS]
    numbers = [options[name] for name in ("label_smoothing", "z_loss", "logit_scale")]
    with pytest.raises(error) as caught:
        with_options(logits, targets, options["weight"], options["sample_weight"], *numbers, *outs)
    assert str(caught.value) == message
    assert all((out == 5).all() for out in outs)


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_of_another_shape_or_onto_itself_is_refused_as_from_python_and_not_written(name):
    logits, targets, options = problem(ALL_WITH_HESSIAN, 9, 7, masks=False)
    arguments = options["weight"], options["sample_weight"], 0.1, 0.1, 1.0
    as_strided = np.lib.stride_tricks.as_strided
    onto_itself = [as_strided(out := out_of(name, 9), strides=(0,) * out.ndim)]
    if out.ndim == 2:  # each row is apart from itself, but not from the next
        onto_itself.append(as_strided(out, strides=(16, 32)))
    for wrong in (out_of(name, 8), out_of(name, 18), *onto_itself):
        outs = [out_of(other, 9) for other in OUTPUTS]
        outs[OUTPUTS.index(name)] = wrong
        with pytest.raises(ValueError, match=f"{name} must have") as caught:
            with_options(logits, targets, *arguments, *outs)
        with pytest.raises(ValueError, match=f"{name} must have") as from_python:
            fastxent.cross_entropy_with_grad(logits, targets, **dict(zip(OUTPUTS, outs, strict=True)))
        assert str(caught.value) == str(from_python.value)
        assert all((out == 5).all() for out in outs)


def test_a_softcap_beyond_the_arithmetic_of_the_logits_is_refused_as_from_python():
    @njit
    def capped(logits, targets, softcap):
        return fastxent.cross_entropy(logits, targets, softcap=softcap)

    arguments = np.zeros((3, 4), np.float32), np.zeros(3, np.int64)
    with pytest.raises(ValueError, match="softcap must be from") as caught:
        capped(*arguments, 1e39)
    with pytest.raises(ValueError, match="softcap must be from") as from_python:
        fastxent.cross_entropy(*arguments, softcap=1e39)
    assert str(caught.value) == str(from_python.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"focal_gamma": -0.5},
        {"focal_gamma": np.inf},
        {"softcap": 0.0},
        {"normalizer": 0.0},
        {"normalizer": np.nan},
    ],
    ids=str,
)
def test_a_number_out_of_its_range_is_refused_as_from_python(wrong):
    options = {"focal_gamma": 1.5, "softcap": 6.0, "normalizer": 7.5} | wrong
    arguments = np.zeros((3, 4)), np.zeros(3, np.int64)
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be") as caught:
        with_numbers(*arguments, *options.values())
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be") as from_python:
        fastxent.cross_entropy(*arguments, **options)
    assert str(caught.value) == str(from_python.value)


def test_a_hessian_cannot_be_had_with_a_focal_exponent_that_is_not_0():
    @njit
    def hessian(logits, targets, hess, focal_gamma):
        return fastxent.cross_entropy_with_grad(logits, targets, hess_out=hess, focal_gamma=focal_gamma)

    arguments = np.zeros((3, 4)), np.zeros(3, np.int64), np.zeros((3, 4))
    hessian(*arguments, 0.0)
    with pytest.raises(ValueError, match="hess_out cannot be had with focal_gamma"):
        hessian(*arguments, 1.0)


def test_a_bad_target_of_several_axes_is_named_by_its_position_in_each():
    targets = np.zeros((2, 3), np.int64)
    targets[1, 2] = 4
    with pytest.raises(IndexError, match=r"targets\[1, 2\] is 4, expected a class from 0 to 3"):
        loss_of(np.zeros((2, 3, 4)), targets)


@pytest.mark.slow
def test_outputs_that_overlap_are_refused_but_for_the_gradient_on_the_logits():
    logits, targets, options = problem(ALL_WITH_HESSIAN, 9, 7, masks=False)
    rows = np.ones((4, 9))
    rank, hess = np.ones(9, int), np.empty_like(logits)

    def run(loss=rows[0], lse=rows[1], rank=rank, entropy=rows[2], grad=logits, hess=hess):
        arguments = options["weight"], options["sample_weight"], 0.1, 0.1, 1.0
        with_options(logits, targets, *arguments, loss, lse, rank, entropy, grad, hess)

    run()
    for name, wrong in (
        ("loss_out", {"loss": options["sample_weight"]}),
        ("lse_out", {"lse": rows[0]}),
        ("rank_out", {"rank": targets}),
        ("entropy_out", {"entropy": rows.ravel()[5:14]}),
        ("hess_out", {"hess": logits}),
        ("grad_out", {"grad": hess}),
    ):
        with pytest.raises(ValueError, match=f"{name} must not overlap"):
            run(**wrong)


def test_an_output_may_not_overlap_targets_of_which_a_copy_is_made():
    @njit
    def ranks_over_targets(logits, targets):
        return fastxent.cross_entropy(logits, targets, rank_out=targets)

    targets = np.zeros(6, np.int64)
    with pytest.raises(ValueError, match="rank_out must not overlap"):
        ranks_over_targets(np.ones((3, 4)), targets[::2])
    assert not targets.any()


def test_a_uint64_target_that_int64_cannot_hold_is_not_taken_for_minus_100():
    @njit
    def row(logits, target):
        return fastxent.cross_entropy(logits, np.uint64(target))

    logits = np.zeros(7)

    @njit
    def ignoring(logits, target, index):
        return fastxent.cross_entropy(logits, target, ignore_index=index)

    assert row(logits, np.uint64(3)) == fastxent.cross_entropy(logits, 3)
    with pytest.raises(IndexError, match=r"targets is 2\*\*63 - 1 or more"):
        row(logits, np.uint64(2**64 - 100))
    with pytest.raises(ValueError, match="ignore_index must be from"):
        ignoring(logits, 3, 2**63 - 1)


NOT_COMPILED = {
    "targets must be a 1-D array, each element an integer,": "cross_entropy(z, z)",
    "logits must be a float32 or float64 array": "cross_entropy(y, y)",
    "axis must be -1": "cross_entropy(z, y, axis=0)",
    "weight must be a 1-D array": "cross_entropy(z, y, weight=1.0)",
    "z_loss must be a real number": "cross_entropy(z, y, z_loss=half)",
    "softcap must be a real number": 'cross_entropy(z, y, softcap="1")',
    "z_loss must be given, or left out": "cross_entropy(z, y, z_loss=None)",
    'reduction must be the constant "mean", "sum" or "none"': 'cross_entropy(z, y, reduction="all")',
    "normalizer divides the mean": 'cross_entropy(z, y, reduction="sum", normalizer=2.0)',
    "grad_out must be a 2-D array of float64": "cross_entropy_with_grad(z, y, grad_out=y)",
    "targets_grad_out must be left out": "cross_entropy_with_grad(z, y, targets_grad_out=z)",
    "hess_out cannot be had with softcap": "cross_entropy_with_grad(z, y, hess_out=z, softcap=1.0)",
    "ignore_index must be an integer of int64's range": "cross_entropy(z, y, ignore_index=unsigned)",
    "too many positional arguments": "cross_entropy(z, y, -1)",
    "unexpected keyword argument 'colour'": "cross_entropy(z, y, colour=1)",
}


@pytest.mark.parametrize("message", NOT_COMPILED)
def test_what_is_not_supported_does_not_compile_and_says_why(message):
    names = {"fastxent": fastxent, "half": np.float16(0.5), "unsigned": np.uint64(1)}
    function = njit(eval(f"lambda z, y: fastxent.{NOT_COMPILED[message]}", names))
    with pytest.raises(TypingError) as caught:
        function(np.zeros((3, 4)), np.zeros(3, int))
    assert message in str(caught.value)


def test_logits_that_may_not_be_written_are_not_overwritten():
    logits = np.zeros((3, 4))
    logits.flags.writeable = False
    with pytest.raises(TypingError, match="grad_out must be a 2-D array of float64 that can be written"):
        in_place(logits, np.zeros(3, np.int64))
    assert not logits.any()
