"""Every bad argument is refused with a message that names it, before anything is written."""

import numpy as np
import pytest

import fastxent

LOGITS = np.arange(12.0).reshape(3, 4)
TARGETS = np.array([0, 3, 2])
READ_ONLY = np.zeros((3, 4))
READ_ONLY.flags.writeable = False

CASES = {
    "integer logits": (
        TypeError,
        r"logits must be float32 or float64.*int64",
        {"logits": LOGITS.astype(int)},
    ),
    "half logits": (TypeError, r"logits must be .* got float16", {"logits": LOGITS.astype(np.float16)}),
    "foreign byte order": (
        TypeError,
        r"logits must be .* native byte order",
        {"logits": LOGITS.astype(">f8")},
    ),
    "object logits": (TypeError, r"logits must be .* object", {"logits": LOGITS.astype(object)}),
    "masked logits": (TypeError, r"logits .* masked", {"logits": np.ma.masked_less(LOGITS, 3)}),
    "ragged logits": (ValueError, r"logits must be an array", {"logits": [[1.0], [1.0, 2.0]]}),
    "scalar logits": (ValueError, r"logits must have at least one axis", {"logits": 1.0, "targets": 0}),
    "float targets": (TypeError, r"targets must be integers, got float64", {"targets": TARGETS * 1.0}),
    "boolean targets": (TypeError, r"targets must be integers, got bool", {"targets": TARGETS > 0}),
    "too few targets": (ValueError, r"targets must have shape \(3,\).*got \(2,\)", {"targets": TARGETS[:2]}),
    "targets with an axis too many": (ValueError, r"targets must have shape", {"targets": TARGETS[:, None]}),
    "targets for an unbatched row": (
        ValueError,
        r"targets must have shape \(\).*got \(1,\)",
        {"logits": LOGITS[0], "targets": [1]},
    ),
    "target too large": (
        IndexError,
        r"targets\[1\] is 4, expected a class from 0 to 3",
        {"targets": [0, 4, 9]},
    ),
    "target one too large": (IndexError, r"targets\[1\] is 4", {"targets": [0, 4, 1]}),
    "target negative": (IndexError, r"targets\[2\] is -1.*ignore_index \(-100\)", {"targets": [0, -100, -1]}),
    "target beyond int64": (
        IndexError,
        r"targets\[0\] is 18446744073709551516",
        {"targets": np.array([2**64 - 100, 0, 0], np.uint64)},
    ),
    "axis out of range": (ValueError, r"axis must be from -2 to 1, got 2", {"axis": 2}),
    "axis not an integer": (TypeError, r"axis must be an integer", {"axis": 0.5}),
    "ignore_index not an integer": (TypeError, r"ignore_index must be an integer", {"ignore_index": None}),
    "ignore_index too large": (ValueError, r"ignore_index must fit in 64 bits", {"ignore_index": 2**63}),
    "unknown reduction": (
        ValueError,
        r'reduction must be "mean", "sum" or "none", got .avg.',
        {"reduction": "avg"},
    ),
    "normalizer without a mean": (
        ValueError,
        r"normalizer divides the mean",
        {"normalizer": 2, "reduction": "sum"},
    ),
    "normalizer zero": (ValueError, r"normalizer must be positive and finite, got 0", {"normalizer": 0}),
    "normalizer infinite": (ValueError, r"normalizer must be positive", {"normalizer": np.inf}),
    "normalizer not a number": (TypeError, r"normalizer must be a real number", {"normalizer": "2"}),
    "loss_out not an array": (
        TypeError,
        r"loss_out must be a plain NumPy array, got list",
        {"loss_out": [0.0] * 3},
    ),
    "loss_out of another dtype": (
        TypeError,
        r"loss_out must be float64",
        {"loss_out": np.zeros(3, np.float32)},
    ),
    "loss_out of another shape": (
        ValueError,
        r"loss_out must have shape \(3,\)",
        {"loss_out": np.zeros((3, 1))},
    ),
    "loss_out broadcast": (
        ValueError,
        r"loss_out must have memory of its own",
        {"loss_out": np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,))},
    ),
    "loss_out masked": (TypeError, r"loss_out must be a plain.*MaskedArray", {"loss_out": np.ma.zeros(3)}),
    "grad_out over itself": (
        ValueError,
        r"grad_out must have memory of its own",
        {"grad_out": np.lib.stride_tricks.as_strided(np.zeros(6), (3, 4), (8, 8))},
    ),
    "axis a float": (TypeError, r"axis must be an integer, got -1.0", {"axis": -1.0}),
    "lse_out over the logits": (ValueError, r"lse_out must not overlap logits", {"lse_out": LOGITS[:, 0]}),
    "grad_out of another shape": (ValueError, r"grad_out must have shape", {"grad_out": np.zeros((4, 3))}),
    "grad_out of another dtype": (TypeError, r"grad_out must be", {"grad_out": np.zeros((3, 4), np.float32)}),
    "grad_out read-only": (ValueError, r"grad_out must be writeable", {"grad_out": READ_ONLY}),
    "grad_out beside itself": (
        ValueError,
        r"grad_out must be logits itself or not overlap",
        {"grad_out": LOGITS[::-1]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_arguments_are_refused_and_nothing_is_written(name):
    error, message, changed = CASES[name]
    arguments = {"logits": LOGITS, "targets": TARGETS, "grad_out": np.full((3, 4), 7.0), **changed}
    outputs = {key: value for key, value in arguments.items() if isinstance(value, np.ndarray)}
    before = {key: value.copy() for key, value in outputs.items()}
    with pytest.raises(error, match=message):
        fastxent.cross_entropy_with_grad(arguments.pop("logits"), arguments.pop("targets"), **arguments)
    for key, value in outputs.items():
        np.testing.assert_array_equal(value, before[key])


def test_the_first_bad_target_is_named_by_its_position_in_every_axis():
    targets = np.zeros((2, 3), int)
    targets[1, 1] = targets[1, 2] = 9
    with pytest.raises(IndexError, match=r"targets\[1, 1\] is 9"):
        fastxent.cross_entropy(np.zeros((2, 3, 4)), targets)


def test_outputs_may_not_overlap_the_targets():
    logits = np.zeros((3, 4))
    targets = logits.view(np.int64)[:, 0]
    with pytest.raises(ValueError, match="grad_out must not overlap targets"):
        fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    with pytest.raises(ValueError, match="loss_out must not overlap targets"):
        fastxent.cross_entropy(np.ones((3, 4)), targets, loss_out=logits[:, 0])
    assert not logits.any()


def test_outputs_may_not_overlap_each_other():
    buffer = np.zeros(6)
    with pytest.raises(ValueError, match="lse_out must not overlap loss_out"):
        fastxent.cross_entropy(LOGITS, TARGETS, loss_out=buffer[:3], lse_out=buffer[2:5])
    with pytest.raises(ValueError, match="lse_out must not overlap loss_out"):
        fastxent.cross_entropy(LOGITS, TARGETS, loss_out=buffer[:3], lse_out=buffer[:3])


def test_an_array_like_is_as_good_as_an_array():
    assert fastxent.cross_entropy(LOGITS.tolist(), TARGETS.tolist()) == fastxent.cross_entropy(
        LOGITS, TARGETS
    )
    subclass = LOGITS.copy().view(type("Subclass", (np.ndarray,), {}))
    loss, grad = fastxent.cross_entropy_with_grad(subclass, TARGETS, grad_out=subclass)
    expected, expected_grad = fastxent.cross_entropy_with_grad(LOGITS, TARGETS)
    assert loss == expected
    assert grad is subclass
    assert np.array_equal(grad, expected_grad)
