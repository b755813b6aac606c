"""Every bad argument is refused with a message that names it, before anything is written."""

import numpy as np
import pytest

import fastxent
from tests.truth import IS_EXTENDED

LOGITS = np.arange(12.0).reshape(3, 4)
TARGETS = np.array([0, 3, 2])
READ_ONLY = np.zeros((3, 4))
READ_ONLY.flags.writeable = False

CASES = {
    "integer logits": (
        TypeError,
        r"logits must be float32, float64, float16 or bfloat16.*int64",
        {"logits": LOGITS.astype(int)},
    ),
    "foreign half logits": (TypeError, r"logits must be .* got >f2", {"logits": LOGITS.astype(">f2")}),
    "foreign byte order": (
        TypeError,
        r"logits must be .* native byte order",
        {"logits": LOGITS.astype(">f8")},
    ),
    "object logits": (TypeError, r"logits must be .* object", {"logits": LOGITS.astype(object)}),
    "masked logits": (TypeError, r"logits .* masked", {"logits": np.ma.masked_less(LOGITS, 3)}),
    "masked rows": (TypeError, r"logits .* masked", {"logits": [*np.ma.masked_less(LOGITS, 3)]}),
    "masked rows in a tuple": (TypeError, r"logits .* masked", {"logits": (*np.ma.masked_less(LOGITS, 3),)}),
    "masked lists": (TypeError, r"logits .* masked", {"logits": [[*np.ma.masked_less(LOGITS, 3)]]}),
    "ragged logits": (ValueError, r"logits must be an array", {"logits": [[1.0], [1.0, 2.0]]}),
    "scalar logits": (ValueError, r"logits must have at least one axis", {"logits": 1.0, "targets": 0}),
    "float targets by class": (
        ValueError,
        r"targets that are floats are probabilities.*\(3, 4\); got \(3,\)",
        {"targets": TARGETS * 1.0},
    ),
    "targets of a float too long": (
        TypeError,
        r"targets must be integers, or floats as logits are; got",
        {"targets": TARGETS.astype(">f4")},
    ),
    "soft targets in foreign byte order": (TypeError, r"got >f8", {"targets": LOGITS.astype(">f8")}),
    "boolean targets": (TypeError, r"targets must be integers.*got bool", {"targets": TARGETS > 0}),
    "masked targets": (TypeError, r"targets .* masked", {"targets": np.ma.masked_less(TARGETS, 1)}),
    "too few targets": (ValueError, r"targets must have shape \(3,\).*got \(2,\)", {"targets": TARGETS[:2]}),
    "targets with an axis too many": (ValueError, r"targets must have shape", {"targets": TARGETS[:, None]}),
    "targets of one-hot integers": (
        ValueError,
        r"targets must have shape \(3,\).*probabilities must be floats",
        {"targets": np.eye(3, 4, dtype=int)},
    ),
    "targets for an unbatched row": (
        ValueError,
        r"targets must have shape \(\).*got \(1,\)",
        {"logits": LOGITS[0], "targets": [1], "grad_out": None},
    ),
    "too many targets": (ValueError, r"targets must have shape \(3,\)", {"targets": np.zeros(4, np.int64)}),
    "target too large": (
        IndexError,
        r"targets\[1\] is 4, expected a class from 0 to 3",
        {"targets": [0, 4, 9]},
    ),
    "target too large in an array": (IndexError, r"targets\[1\] is 4", {"targets": np.array([0, 4, 9])}),
    "target one too large": (IndexError, r"targets\[1\] is 4", {"targets": [0, 4, 1]}),
    "target of an unbatched row": (
        IndexError,
        r"^targets is 4, expected a class from 0 to 3",
        {"logits": LOGITS[0], "targets": 4, "grad_out": None},
    ),
    "target negative": (IndexError, r"targets\[2\] is -1.*ignore_index \(-100\)", {"targets": [0, -100, -1]}),
    "target beyond int64": (
        IndexError,
        r"targets\[0\] is 18446744073709551516",
        {"targets": np.array([2**64 - 100, 0, 0], np.uint64)},
    ),
    "axis out of range": (ValueError, r"axis must be from -2 to 1, got 2", {"axis": 2}),
    "axis not an integer": (TypeError, r"axis must be an integer", {"axis": 0.5}),
    "axis a boolean": (TypeError, r"axis must be an integer, got True", {"axis": True}),
    "axis an array": (TypeError, r"axis must be an integer", {"axis": np.array([0, 1])}),
    "ignore_index not an integer": (TypeError, r"ignore_index must be an integer", {"ignore_index": None}),
    "ignore_index a boolean": (TypeError, r"ignore_index must be an integer", {"ignore_index": True}),
    "ignore_index too large": (ValueError, r"ignore_index must be from", {"ignore_index": 2**63 - 1}),
    "ignore_index too small": (
        ValueError,
        r"ignore_index must be from -2\*\*63",
        {"ignore_index": -(2**63) - 1},
    ),
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
    "targets no int64 holds, beside the largest": (
        ValueError,
        r"ignore_index must be from",
        {"targets": np.array([2**64 - 100, 0, 0], np.uint64), "ignore_index": 2**63 - 1},
    ),
    "reductions": (ValueError, r"reduction must be", {"reduction": np.array(["mean", "sum"])}),
    "normalizer zero": (
        ValueError,
        r"normalizer must be finite and at least 2\*\*-126, got 0",
        {"normalizer": 0},
    ),
    "normalizer infinite": (ValueError, r"normalizer must be finite", {"normalizer": np.inf}),
    "normalizer too small": (ValueError, r"normalizer must .*, got 1e-38", {"normalizer": 1e-38}),
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
    "grad_out of its own over itself": (
        ValueError,
        r"grad_out must have memory of its own",
        {"grad_out": np.ndarray((3, 4), strides=(0, 8))},
    ),
    "axis a float": (TypeError, r"axis must be an integer, got -1.0", {"axis": -1.0}),
    "lse_out over the logits": (ValueError, r"lse_out must not overlap logits", {"lse_out": LOGITS[:, 0]}),
    "grad_out of another shape": (ValueError, r"grad_out must have shape", {"grad_out": np.zeros((4, 3))}),
    "grad_out of another dtype": (TypeError, r"grad_out must be", {"grad_out": np.zeros((3, 4), np.float32)}),
    "grad_out of integers": (TypeError, r"grad_out must be", {"grad_out": np.zeros((3, 4), np.int64)}),
    "grad_out of a half type in float64": (
        TypeError,
        r"grad_out must be float16 or float32; got float64",
        {"logits": LOGITS.astype(np.float16), "grad_out": np.zeros((3, 4))},
    ),
    "grad_out masked": (TypeError, r"grad_out must be a plain.*Masked", {"grad_out": np.ma.zeros((3, 4))}),
    "grad_out read-only": (ValueError, r"grad_out must be writeable", {"grad_out": READ_ONLY}),
    "grad_out beside itself": (
        ValueError,
        r"grad_out must be logits itself or not overlap",
        {"grad_out": LOGITS[::-1]},
    ),
}


SOFT = np.full((3, 4), 0.25)
FLOAT_OPTIONS = ["label_smoothing", "focal_gamma", "z_loss", "softcap", "logit_scale"]
OPTION_CASES = {
    **{
        f"{name} {value!r}": (TypeError, rf"{name} must be a real number", {name: value})
        for name in FLOAT_OPTIONS
        for value in ("1", 1j, np.ones(2), True, False)
    },
    **{
        f"{name} {value}": (ValueError, rf"{name} must be", {name: value})
        for name in FLOAT_OPTIONS
        for value in (-0.5, np.nan, np.inf, -np.inf)
    },
    "z_loss beyond floats": (ValueError, r"z_loss must be finite", {"z_loss": 10**400}),
    "softcap beyond floats": (ValueError, r"softcap must be from", {"softcap": 10**400}),
    "label_smoothing above 1": (
        ValueError,
        r"label_smoothing must be from 0 to 1, got 1.01",
        {"label_smoothing": 1.01},
    ),
    "softcap zero": (ValueError, r"softcap must be from 7.46e-155 to 1.34e\+154", {"softcap": 0}),
    "logit_scale zero": (ValueError, r"logit_scale must be from 7.46e-155 to", {"logit_scale": 0.0}),
    "logit_scale None": (TypeError, r"logit_scale must be a real number, got None", {"logit_scale": None}),
    "weight too short": (ValueError, r"weight must have shape \(4,\), got \(3,\)", {"weight": [1, 1, 1]}),
    "weight a number": (ValueError, r"weight must have shape \(4,\), got \(\)", {"weight": 1.0}),
    "weight negative": (
        ValueError,
        r"weight must be finite and at least 0, got -1.0 at flat index 2",
        {"weight": [1, 1, -1, 1]},
    ),
    "weight NaN": (ValueError, r"weight must be finite.*got nan", {"weight": [1, np.nan, 1, 1]}),
    "weight infinite": (ValueError, r"weight must be finite.*got inf", {"weight": [1, np.inf, 1, 1]}),
    "weight tiny": (
        ValueError,
        r"largest weight must be from 7.46e-155 to 1.34e\+154 for .*, got 1e-160",
        {"weight": [1e-160] * 4},
    ),
    "weight huge": (ValueError, r"largest weight must be.*got 1e\+160", {"weight": [1, 1e160, 0, 1]}),
    "weight complex": (TypeError, r"weight must be real numbers, got complex", {"weight": [1j] * 4}),
    "weight boolean": (TypeError, r"weight must be real numbers, got bool", {"weight": [True] * 4}),
    "weight masked": (TypeError, r"weight .* masked", {"weight": np.ma.ones(4)}),
    "weight ragged": (ValueError, r"weight must be an array", {"weight": [[1], [1, 2]]}),
    "sample_weight of the logits' shape": (
        ValueError,
        r"sample_weight must have shape \(3,\), got \(3, 4\)",
        {"sample_weight": LOGITS},
    ),
    "sample_weight negative": (
        ValueError,
        r"sample_weight must be finite and at least 0, got -2.0 at",
        {"sample_weight": [0, 1, -2]},
    ),
    "sample_weight of strings": (TypeError, r"sample_weight must be real", {"sample_weight": ["1"] * 3}),
    "rank_out of floats": (TypeError, r"rank_out must be int64", {"rank_out": np.zeros(3)}),
    "rank_out of another shape": (
        ValueError,
        r"rank_out must have shape",
        {"rank_out": np.zeros(4, np.int64)},
    ),
    "entropy_out of another dtype": (
        TypeError,
        r"entropy_out must be float64",
        {"entropy_out": np.zeros(3, np.float32)},
    ),
    "entropy_out a list": (TypeError, r"entropy_out must be a plain", {"entropy_out": [0.0] * 3}),
    "lse_out of another shape": (ValueError, r"lse_out must have shape", {"lse_out": np.zeros(4)}),
    "hess_out of another dtype": (
        TypeError,
        r"hess_out must be float64",
        {"hess_out": np.zeros((3, 4), np.float32)},
    ),
    "hess_out of another shape": (ValueError, r"hess_out must have shape", {"hess_out": np.zeros((4, 3))}),
    "hess_out read-only": (ValueError, r"hess_out must be writeable", {"hess_out": READ_ONLY}),
    "hess_out the logits": (ValueError, r"hess_out must not overlap logits", {"hess_out": LOGITS}),
    "hess_out with focal_gamma": (
        ValueError,
        r"hess_out.*focal_gamma",
        {"hess_out": np.zeros((3, 4)), "focal_gamma": 1},
    ),
    "hess_out with softcap": (ValueError, r"hess_out.*softcap", {"hess_out": np.zeros((3, 4)), "softcap": 1}),
    "targets_grad_out with classes": (
        ValueError,
        r"targets_grad_out needs targets that are floats",
        {"targets_grad_out": np.zeros((3, 4))},
    ),
    "targets_grad_out of another dtype": (
        TypeError,
        r"targets_grad_out must be float64",
        {"targets": SOFT, "targets_grad_out": np.zeros((3, 4), np.float32)},
    ),
    "targets_grad_out beside the targets": (
        ValueError,
        r"targets_grad_out must be targets itself or not overlap",
        {"targets": SOFT, "targets_grad_out": SOFT[::-1]},
    ),
    "focal_gamma with soft targets": (
        ValueError,
        r"focal_gamma needs targets that are integers",
        {"targets": SOFT, "focal_gamma": 1},
    ),
    "rank_out with soft targets": (
        ValueError,
        r"rank_out needs targets that are integers",
        {"targets": SOFT, "rank_out": np.zeros(3, np.int64)},
    ),
    "ignore_index with soft targets": (
        ValueError,
        r"ignore_index needs targets that are integers",
        {"targets": SOFT, "ignore_index": 0},
    ),
    "soft targets of another shape": (
        ValueError,
        r"targets that are floats.*\(3, 4\); got \(4, 3\)",
        {"targets": SOFT.T},
    ),
    "normalizer boolean": (TypeError, r"normalizer must be a real number", {"normalizer": True}),
    "normalizer with none": (
        ValueError,
        r"normalizer divides the mean",
        {"normalizer": 2, "reduction": "none"},
    ),
    "bad target with options": (
        IndexError,
        r"targets\[1\] is 4",
        {"targets": [0, 4, 9], "weight": np.ones(4), "softcap": 3.0},
    ),
}
CASES |= OPTION_CASES
if IS_EXTENDED:
    CASES["extended logits"] = TypeError, r"logits must be .* got", {"logits": LOGITS.astype(np.longdouble)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("grad_out", [None, np.full((3, 4), 7.0)], ids=["a new array", "an array of its own"])
def test_bad_arguments_are_refused_and_nothing_is_written(name, grad_out):
    error, message, changed = CASES[name]
    arguments = {"logits": LOGITS, "targets": TARGETS, "grad_out": grad_out, **changed}
    outputs = {key: value for key, value in arguments.items() if isinstance(value, np.ndarray)}
    before = {key: value.copy() for key, value in outputs.items()}
    with pytest.raises(error, match=message):
        fastxent.cross_entropy_with_grad(arguments.pop("logits"), arguments.pop("targets"), **arguments)
    for key, value in outputs.items():
        np.testing.assert_array_equal(value, before[key])


def test_read_only_logits_are_not_overwritten():
    with pytest.raises(ValueError, match="grad_out must be writeable"):
        fastxent.cross_entropy_with_grad(READ_ONLY, TARGETS, grad_out=READ_ONLY)
    assert not READ_ONLY.any()


def test_the_first_bad_target_is_named_by_its_position_in_every_axis():
    targets = np.zeros((2, 3), int)
    targets[1, 1] = targets[1, 2] = 9
    with pytest.raises(IndexError, match=r"targets\[1, 1\] is 9"):
        fastxent.cross_entropy(np.zeros((2, 3, 4)), targets)


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


@pytest.mark.parametrize("logits", [np.zeros((0, 3)), np.zeros((0, 3), np.float16), np.zeros((3, 0, 2))])
def test_an_empty_list_is_as_good_as_no_integers(logits):
    targets = np.zeros(np.delete(logits.shape, -1)).tolist()
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    assert loss == 0.0
    assert grad.shape == logits.shape
    assert fastxent.cross_entropy(logits, targets, reduction="none").shape == logits.shape[:-1]


def test_what_refuses_to_become_an_array_is_named():
    class Held:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("held by another library")

    with pytest.raises(TypeError, match="logits must be an array: held by another library"):
        fastxent.cross_entropy(Held(), [0])


def test_where_there_are_no_classes_the_error_says_so():
    with pytest.raises(IndexError, match=r"targets\[1\] is 0, expected no class, for there are none, or ign"):
        fastxent.cross_entropy(np.zeros((2, 0)), [-100, 0])


@pytest.mark.parametrize("end", [{"ignore_index": -(2**63)}, {"ignore_index": 2**63 - 2}], ids=str)
def test_the_ends_of_the_range_of_ignore_index_are_ignored(end):
    targets = np.array([0, end["ignore_index"], 2])
    for logits in (LOGITS, LOGITS.tolist()):  # plain, and not
        assert fastxent.cross_entropy(logits, targets, **end) == fastxent.cross_entropy(
            LOGITS[::2], targets[::2]
        )


def test_the_least_normalizer_divides():
    total = fastxent.cross_entropy(LOGITS, TARGETS, reduction="sum")
    assert fastxent.cross_entropy(LOGITS, TARGETS, normalizer=2.0**-126) == total * 2.0**126
