"""What binary cross-entropy refuses, and that nothing is written then."""

import numpy as np
import pytest

from fastxent import binary_cross_entropy, binary_cross_entropy_with_grad
from tests.measure import assert_same_bits

Z = np.linspace(-2, 2, 20).astype(np.float32).reshape(4, 5)
Y = np.linspace(0, 1, 20).astype(np.float32).reshape(4, 5)
BAD_CALLS = {
    "integer logits": (Z.astype(int), Y, {}, TypeError, "logits must be float32"),
    "targets of another shape": (Z, Y[:1], {}, ValueError, r"targets must have shape \(4, 5\)"),
    "complex targets": (Z, Y * 1j, {}, TypeError, "targets must be floats"),
    "target 2": (Z, np.arange(20).reshape(4, 5) // 9, {}, ValueError, r"targets\[3, 3\] is 2, expected"),
    "target -1": (Z, np.where(Z < 0, 1, -1), {}, ValueError, r"targets\[2, 0\] is -1, expected a number"),
    "target above 1": (Z, np.where(Y > 0.9, 1.001, Y), {}, ValueError, r"targets\[3, 3\] is 1\.001"),
    "target NaN": (Z, np.where(Y == 1, np.nan, Y), {}, ValueError, r"targets\[3, 4\] is nan"),
    "weight of another shape": (Z, Y, {"weight": [1, 2]}, ValueError, "weight must broadcast to shape"),
    "weight of more axes": (Z, Y, {"weight": np.ones((1, 4, 5))}, ValueError, "weight must broadcast"),
    "negative weight": (Z, Y, {"pos_weight": -1.0}, ValueError, "pos_weight must be finite and at least 0"),
    "infinite weight": (Z, Y, {"weight": np.inf}, ValueError, "weight must be finite"),
    "word for a weight": (Z, Y, {"weight": "heavy"}, TypeError, "weight must be real numbers"),
    "smoothing above 1": (Z, Y, {"label_smoothing": 1.5}, ValueError, "label_smoothing must be from 0 to 1"),
    "reduction": (Z, Y, {"reduction": "median"}, ValueError, "reduction must be"),
    "normalizer of a sum": (Z, Y, {"reduction": "sum", "normalizer": 2.0}, ValueError, "normalizer divides"),
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_bad_argument_is_refused_before_anything_is_written(bad):
    z, y, options, error, message = BAD_CALLS[bad]
    grad_out, loss_out = np.full(z.shape, 7, z.dtype), np.full(z.shape, 7, np.float32)
    with pytest.raises(error, match=message):
        binary_cross_entropy(z, y, loss_out=loss_out, **options)
    with pytest.raises(error, match=message):
        binary_cross_entropy_with_grad(z, y, loss_out=loss_out, grad_out=grad_out, **options)
    assert np.all(grad_out == 7)
    assert np.all(loss_out == 7)


@pytest.mark.parametrize(
    ("outs", "error", "message"),
    [
        (lambda z, y, w: {"loss_out": z.astype(float)}, TypeError, "loss_out must be float32"),
        (lambda z, y, w: {"loss_out": z[0]}, ValueError, "loss_out must have shape"),
        (lambda z, y, w: {"loss_out": z}, ValueError, "loss_out must not overlap logits"),
        (lambda z, y, w: {"loss_out": y}, ValueError, "loss_out must not overlap targets"),
        (lambda z, y, w: {"loss_out": w}, ValueError, "loss_out must not overlap weight"),
        (lambda z, y, w: {"grad_out": y}, ValueError, "grad_out must not overlap targets"),
        (lambda z, y, w: {"grad_out": w}, ValueError, "grad_out must not overlap weight"),
        (lambda z, y, w: {"grad_out": z[::-1]}, ValueError, "grad_out must be logits itself"),
        (lambda z, y, w: {"grad_out": z.astype(float)}, TypeError, "grad_out must be float32"),
        (lambda z, y, w: dict.fromkeys(("grad_out", "loss_out"), z + 1), ValueError, "overlap grad_out"),
    ],
)
def test_output_that_lies_on_another_array_is_refused(outs, error, message):
    z, y, w = Z.copy(), Y.copy(), np.ones_like(Z)
    with pytest.raises(error, match=message):
        binary_cross_entropy_with_grad(z, y, weight=w, pos_weight=w, **outs(z, y, w))
    for array, before in ((z, Z), (y, Y), (w, np.ones_like(Z))):
        assert_same_bits(array, before)


@pytest.mark.parametrize("out", ["grad_out", "loss_out"])
def test_output_that_lies_on_the_weight_of_positives_is_refused(out):
    pos_weight = np.ones_like(Z)
    with pytest.raises(ValueError, match=f"{out} must not overlap pos_weight"):
        binary_cross_entropy_with_grad(Z, Y, pos_weight=pos_weight, **{out: pos_weight})
    assert np.all(pos_weight == 1)
