"""Every option of the specification against numbers worked out by hand.

The cases are those of test_reference: exp(LOGITS) is 1, 2, 1 and 1, 1, 6.
"""

import numpy as np
import pytest

from fastxent import reference
from tests.numerical import HARD_OPTIONS
from tests.test_reference import LN2, LN3, LOGITS, ONE_HOT, PROBABILITIES, ROW_LOSSES, TARGETS
from tests.tolerances import REFERENCE_OPTIONS_RELATIVE

WEIGHT = np.array([1, 3, 2])
SOFT = np.array([[1 / 4, 1 / 4, 1 / 2], [0, 1, 0]])


def rows_times(factors, matrix):
    return np.array(factors)[:, None] * matrix


def close_to_hand(result, expected):
    relative = REFERENCE_OPTIONS_RELATIVE
    np.testing.assert_allclose(result, expected, rtol=relative, atol=relative)


# Losses by row, the gradient of their sum, and what the mean divides by.
@pytest.mark.parametrize(
    ("options", "losses", "grad", "divisor"),
    [
        ({"weight": WEIGHT}, [3 * LN2, 3 * LN2], rows_times([3, 1], PROBABILITIES - ONE_HOT), 4),
        ({"sample_weight": [2, 0]}, [2 * LN2, 0], rows_times([2, 0], PROBABILITIES - ONE_HOT), 2),
        (
            {"weight": WEIGHT, "sample_weight": [2, 1]},
            [6 * LN2, 3 * LN2],
            rows_times([6, 1], PROBABILITIES - ONE_HOT),
            7,
        ),
        (
            {"label_smoothing": 0.75},
            [3 / 2 * LN2, 11 / 4 * LN2 - LN3 / 4],
            PROBABILITIES - ONE_HOT / 4 - 1 / 4,
            2,
        ),
        (
            {"label_smoothing": 0.75, "weight": WEIGHT},
            [3 * LN2, 19 / 4 * LN2 - LN3 / 2],
            rows_times([9 / 4, 7 / 4], PROBABILITIES) - rows_times([3 / 4, 1 / 4], ONE_HOT) - WEIGHT / 4,
            4,
        ),
        (
            {"focal_gamma": 1},
            [LN2 / 2, 21 / 8 * LN2],
            rows_times([(1 + LN2) / 2, (7 + 3 * LN2) / 8], PROBABILITIES - ONE_HOT),
            2,
        ),
        (
            {"focal_gamma": 2},
            [LN2 / 4, 147 / 64 * LN2],
            rows_times([1 / 4 + LN2 / 2, 49 / 64 + 21 / 32 * LN2], PROBABILITIES - ONE_HOT),
            2,
        ),
        (
            {"z_loss": 0.5},
            [LN2 + 2 * LN2**2, 3 * LN2 + (1 + 3 * LN2) ** 2 / 2],
            rows_times([1 + 2 * LN2, 2 + 3 * LN2], PROBABILITIES) - ONE_HOT,
            2,
        ),
        ({"logits": LOGITS / 2, "logit_scale": 2}, ROW_LOSSES, 2 * (PROBABILITIES - ONE_HOT), 2),
        (
            {"logits": 4 * np.arctanh(LOGITS / 4), "softcap": 4},
            ROW_LOSSES,
            (PROBABILITIES - ONE_HOT) * (1 - LOGITS**2 / 16),
            2,
        ),
        (
            {"logits": 2 * np.arctanh(LOGITS / 4), "softcap": 4, "logit_scale": 2},
            ROW_LOSSES,
            (PROBABILITIES - ONE_HOT) * (2 - LOGITS**2 / 8),
            2,
        ),
        ({"targets": SOFT}, [7 / 4 * LN2, 3 * LN2], PROBABILITIES - SOFT, 2),
        (
            {"targets": SOFT, "weight": WEIGHT, "label_smoothing": 0.75, "sample_weight": [4, 8]},
            [49 / 4 * LN2, 50 * LN2 - 4 * LN3],
            rows_times([8, 18], PROBABILITIES) - [[5 / 4, 15 / 4, 3], [2, 12, 4]],
            12,
        ),
    ],
    ids=str,
)
def test_option_is_what_is_worked_out_by_hand(options, losses, grad, divisor):
    options = {"logits": LOGITS, "targets": TARGETS, **options}
    loss_out = np.zeros(2)
    loss, result = reference.cross_entropy_with_grad(**options, loss_out=loss_out, reduction="none")
    assert loss is loss_out
    close_to_hand(loss, losses)
    close_to_hand(result, grad)
    for reduction, scale in (("sum", 1), ("mean", divisor)):
        loss, result = reference.cross_entropy_with_grad(**options, reduction=reduction)
        close_to_hand(loss, sum(losses) / scale)
        close_to_hand(result, grad / scale)
        assert reference.cross_entropy(**options, reduction=reduction) == loss


def test_extra_outputs_are_what_is_worked_out_by_hand():
    rank, entropy, hess, targets = np.zeros(2, np.int64), np.zeros(2), np.zeros((3, 2)), SOFT.T.copy()
    options = {"axis": 0, "weight": WEIGHT, "normalizer": 4}
    reference.cross_entropy(LOGITS.T, TARGETS, axis=0, rank_out=rank, entropy_out=entropy)
    assert rank.tolist() == [0, 1]
    close_to_hand(entropy, [3 / 2 * LN2, 9 / 4 * LN2 - 3 / 4 * LN3])
    reference.cross_entropy_with_grad(LOGITS.T, TARGETS, hess_out=hess, logit_scale=1.0, **options)
    close_to_hand(hess.T, np.array([[9, 12, 9], [7 / 4, 7 / 4, 3]]) / 64)
    reference.cross_entropy_with_grad(
        LOGITS.T, targets, targets_grad_out=targets, label_smoothing=0.5, sample_weight=[2, 1], **options
    )
    close_to_hand(targets.T, rows_times([1 / 4, 1 / 8], -WEIGHT * np.log(PROBABILITIES)))


def test_binary_cross_entropy_is_what_is_worked_out_by_hand():
    z, y, p = np.array([0, LN3, -LN3]), np.array([True, False, True]), np.array([1 / 2, 3 / 4, 1 / 4])
    w = np.array([1, 2, 4])
    smooth = 2 * LN2 - LN3 / 4
    for options, losses, grad in [
        ({}, [LN2, 2 * LN2, 2 * LN2], p - y),
        ({"pos_weight": 2}, [2 * LN2, 2 * LN2, 4 * LN2], np.array([-1, 3 / 4, -3 / 2])),
        ({"weight": w}, [LN2, 4 * LN2, 8 * LN2], w * (p - y)),
        ({"label_smoothing": 0.5}, [LN2, smooth, smooth], np.array([-1 / 4, 1 / 2, -1 / 2])),
    ]:
        for reduction, divisor in (("none", 1), ("sum", 1), ("mean", 3)):
            loss, result = reference.binary_cross_entropy_with_grad(z, y, reduction=reduction, **options)
            close_to_hand(loss, losses if reduction == "none" else sum(losses) / divisor)
            close_to_hand(result, grad / divisor)
            np.testing.assert_equal(
                reference.binary_cross_entropy(z, y, reduction=reduction, **options), loss
            )
    loss, grad = reference.binary_cross_entropy_with_grad(np.array([np.inf, -np.inf, np.inf]), [1, 0, 0.0])
    assert loss == np.inf
    close_to_hand(grad, [0, 0, 1 / 3])


def test_log_loss_divergence_and_entropy_are_what_is_worked_out_by_hand():
    close_to_hand(reference.log_loss(PROBABILITIES, TARGETS), 2 * LN2)
    close_to_hand(reference.log_loss(PROBABILITIES.T, [1, -100], axis=0), LN2)
    close_to_hand(reference.log_loss(PROBABILITIES, SOFT, sample_weight=[4, 1]), 2 * LN2)
    close_to_hand(reference.log_loss(ONE_HOT, ONE_HOT, reduction="none"), [0, 0])
    assert reference.log_loss(ONE_HOT, [0, 0]) == np.inf
    close_to_hand(reference.entropy(PROBABILITIES), [3 / 2 * LN2, 9 / 4 * LN2 - 3 / 4 * LN3])
    close_to_hand(reference.entropy(ONE_HOT.T, axis=0), [0, 0])

    close_to_hand(reference.kl_divergence(LOGITS, PROBABILITIES, reduction="none"), [0, 0])
    for options, losses, divisor in [
        ({"reduction": "sum"}, [LN2 / 4, 3 * LN2], 1),
        ({}, [LN2 / 4, 3 * LN2], 2),
        ({"sample_weight": [4, 0]}, [LN2, 0], 4),
        ({"normalizer": 8}, [LN2 / 4, 3 * LN2], 8),
    ]:
        loss, grad = reference.kl_divergence_with_grad(LOGITS, SOFT, **options)
        close_to_hand(loss, sum(losses) / divisor)
        close_to_hand(grad, rows_times(options.get("sample_weight", [1, 1]), PROBABILITIES - SOFT) / divisor)


ALL_OPTIONS = {**HARD_OPTIONS[-1], "weight": [1, 0, 2], "sample_weight": [1, 0, 2], "ignore_index": -1}


@pytest.mark.parametrize(
    "options", [ALL_OPTIONS, {**ALL_OPTIONS, "focal_gamma": 0, "softcap": None}], ids=str
)
def test_rows_not_kept_are_not_read(options):
    """A row of sample weight 0, whose target is no class, and an ignored one, among NaN."""
    z = np.array([LOGITS[0], [np.nan] * 3, [np.nan] * 3])
    outs = {name: np.full(3, 7.0) for name in ("loss_out", "lse_out", "entropy_out")}
    rank = np.full(3, 7)
    if options["softcap"] is None:
        outs["hess_out"] = np.full((3, 3), 7.0)
    loss, grad = reference.cross_entropy_with_grad(z, [2, 9, -1], rank_out=rank, **outs, **options)
    kept = {**options, "sample_weight": None}
    assert loss == reference.cross_entropy(z[:1], [2], **kept)
    assert grad[0].all()
    assert not any(out[1:].any() for out in (grad, *outs.values()))
    assert all(out[0].all() for out in outs.values())
    assert rank.tolist() == [1, 3, 3]


def test_rows_of_soft_targets_not_kept_are_not_read():
    z, t = np.array([LOGITS[0], [np.nan] * 3]), np.array([[0, 1 / 4, 3 / 4], [np.nan] * 3])
    targets_grad = np.full((2, 3), 7.0)
    options = {"sample_weight": [2, 0]}
    loss, grad = reference.cross_entropy_with_grad(z, t, targets_grad_out=targets_grad, **options)
    assert loss == reference.cross_entropy(z[:1], t[:1])
    close_to_hand(grad, [[1 / 4, 1 / 4, -1 / 2], [0, 0, 0]])
    close_to_hand(targets_grad, [[2 * LN2, LN2, 2 * LN2], [0, 0, 0]])
    loss, grad = reference.kl_divergence_with_grad(z, t, **options)
    assert loss == reference.kl_divergence(z[:1], t[:1])
    close_to_hand(grad, [[1 / 4, 1 / 4, -1 / 2], [0, 0, 0]])


def test_mean_over_no_weight_is_zero():
    outs = {"hess_out": np.full((2, 3), 7.0)}
    z = np.array([[np.nan, 1, 2], [3, 4, np.inf]])
    loss, grad = reference.cross_entropy_with_grad(z, [1, 1], weight=[1, 0, 1], label_smoothing=0.1, **outs)
    assert loss == 0
    assert not grad.any()
    assert not outs["hess_out"].any()
    assert reference.cross_entropy(z, [1, 1], sample_weight=[0, 0]) == 0
    assert reference.kl_divergence(z, SOFT, sample_weight=[0, 0]) == 0
    assert reference.log_loss(z, [1, 1], sample_weight=[0, 0]) == 0
    assert reference.binary_cross_entropy(np.zeros((0, 3)), np.zeros((0, 3))) == 0


def test_zero_times_infinity_is_zero_and_nan_stays():
    z = np.array([[0, LN3, -np.inf]])
    half = np.array([[1 / 2, 1 / 2, 0]])
    entropy, targets_grad = np.zeros(1), np.zeros((1, 3))
    loss, grad = reference.cross_entropy_with_grad(
        z, half, entropy_out=entropy, targets_grad_out=targets_grad, weight=[1, 1, 0]
    )
    close_to_hand(loss, 2 * LN2 - LN3 / 2)
    close_to_hand(grad, [[-1 / 4, 1 / 4, 0]])
    close_to_hand(entropy, [2 * LN2 - 3 / 4 * LN3])
    close_to_hand(targets_grad, [[2 * LN2, 2 * LN2 - LN3, 0]])
    close_to_hand(reference.kl_divergence(z, half), LN2 - LN3 / 2)
    assert reference.cross_entropy(z, [2], weight=[1, 1, 0], reduction="sum") == 0
    assert reference.cross_entropy(z, [0], label_smoothing=0.1) == np.inf
    assert np.isfinite(reference.cross_entropy(z, [0], label_smoothing=0.1, weight=[1, 1, 0]))
    loss, grad = reference.cross_entropy_with_grad(z, [2], focal_gamma=0.5)
    assert loss == np.inf
    close_to_hand(grad, [[1 / 4, 3 / 4, -1]])
    loss, grad = reference.cross_entropy_with_grad([[0, -np.inf]], [0], focal_gamma=0.5)
    assert loss == 0
    assert not grad.any()
    assert np.isnan(reference.cross_entropy([[0, np.nan]], [0], weight=[0, 1], reduction="sum"))
    assert np.isnan(reference.cross_entropy([[0, np.nan]], [[1.0, 0.0]]))


@pytest.mark.parametrize("options", [{}, {"logit_scale": 2.0}], ids=str)
def test_masked_class_stays_masked_under_softcap(options):
    """tanh would make a finite logit of it."""
    scale = options.get("logit_scale", 1.0)
    z = np.array([[0, 4 * np.arctanh(LN3 / 4), -np.inf]] * 2) / scale
    lse, entropy = np.zeros(2), np.zeros(2)
    losses, grad = reference.cross_entropy_with_grad(
        z, [0, 2], softcap=4.0, reduction="none", lse_out=lse, entropy_out=entropy, **options
    )
    close_to_hand(losses, [2 * LN2, np.inf])
    close_to_hand(lse, [2 * LN2] * 2)
    close_to_hand(entropy, [2 * LN2 - 3 / 4 * LN3] * 2)
    slopes = [scale, scale * (1 - LN3**2 / 16), 0]
    close_to_hand(grad, np.array([[-3 / 4, 3 / 4, 0], [1 / 4, 3 / 4, -1]]) * slopes)
    losses = reference.cross_entropy(z, [[1 / 2, 1 / 2, 0]] * 2, softcap=4.0, reduction="none", **options)
    close_to_hand(losses, [2 * LN2 - LN3 / 2] * 2)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_activations_of_half_types_are_those_of_float32_rounded_once(name):
    dtype = np.dtype(name if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16)
    z = LOGITS.astype(dtype)
    for function in ("softmax", "log_softmax", "logsumexp", "sigmoid", "softmax_grad"):
        arrays = [z, z] if function == "softmax_grad" else [z]
        result = getattr(reference, function)(*arrays)
        expected = getattr(reference, function)(*(a.astype(np.float32) for a in arrays))
        assert result.dtype == (np.float32 if function == "logsumexp" else dtype)
        np.testing.assert_array_equal(result, expected.astype(result.dtype))


def test_nan_ranks_above_every_number():
    rank = np.zeros(4, np.int64)
    z = [[0, np.nan, 1], [np.nan, 1, 2], [np.inf, np.inf, 0], [1, 1, -np.inf]]
    reference.cross_entropy(z, [0, 0, 0, 2], rank_out=rank)
    assert rank.tolist() == [2, 3, 0, 2]
