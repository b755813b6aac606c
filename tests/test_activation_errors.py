"""What softmax and its relatives refuse, and that nothing is written then."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastxent

Z = np.arange(24, dtype=np.float32).reshape(4, 6)
BAD_CALLS = {
    "integers": ("softmax", [Z.astype(int)], {}, TypeError, "logits must be float32, float64"),
    "strings": ("sigmoid", [Z.astype(str)], {}, TypeError, "logits must be float32"),
    "foreign byte order": ("logsumexp", [Z.astype(Z.dtype.newbyteorder())], {}, TypeError, "byte order"),
    "masked array": ("log_softmax", [np.ma.masked_less(Z, 3)], {}, TypeError, "masked"),
    "ragged rows": ("softmax", [[[1.0], [1.0, 2.0]]], {}, ValueError, "logits must be an array"),
    "scalar": ("sigmoid", [1.0], {}, ValueError, "at least one axis"),
    "axis too many": ("softmax", [Z], {"axis": 2}, ValueError, "axis must be from -2 to 1"),
    "axis that sigmoid lacks": ("sigmoid", [Z], {"axis": -3}, ValueError, "axis must be from -2 to 1"),
    "half an axis": ("logsumexp", [Z], {"axis": 0.5}, TypeError, "axis must be an integer"),
    "other dtype": ("softmax_grad", [Z, Z.astype(float)], {}, TypeError, "grad must be float32"),
    "other shape": ("softmax_grad", [Z, Z[:2]], {}, ValueError, "grad must have shape"),
    "integer probs": ("softmax_grad", [Z.astype(int), Z], {}, TypeError, "probs must be"),
}
BAD_OUTS = {
    "list": (lambda good, z: good.tolist(), TypeError, "out must be a plain NumPy array, got list"),
    "other dtype": (lambda good, z: good.astype(float), TypeError, "out must be float32"),
    "other shape": (lambda good, z: good[1:], ValueError, "out must have shape"),
    "read-only": (lambda good, z: np.broadcast_to(good, good.shape), ValueError, "writeable"),
    "broadcast": (lambda good, z: as_strided(good, strides=[0] * good.ndim), ValueError, "memory of its own"),
    "overlap": (lambda good, z: z[::-1] if good.ndim == 2 else z[:, 0], ValueError, "overlap"),
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_bad_argument_is_refused_before_anything_is_written(bad):
    name, arrays, options, error, message = BAD_CALLS[bad]
    out = np.full(Z.shape[:1] if name == "logsumexp" else Z.shape, 7, Z.dtype)
    with pytest.raises(error, match=message):
        getattr(fastxent, name)(*arrays, out=out, **options)
    assert np.all(out == 7)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "softmax_grad", "sigmoid"])
@pytest.mark.parametrize("bad", BAD_OUTS)
def test_bad_out_is_refused_before_anything_is_written(bad, name):
    make, error, message = BAD_OUTS[bad]
    arrays = [Z.copy() for _ in range(2 if name == "softmax_grad" else 1)]
    good = np.full(Z.shape[:1] if name == "logsumexp" else Z.shape, 7, Z.dtype)
    out = make(good, arrays[-1])
    before = np.array(out)
    with pytest.raises(error, match=message):
        getattr(fastxent, name)(*arrays, out=out)
    np.testing.assert_array_equal(out, before)
    np.testing.assert_array_equal(arrays, [Z] * len(arrays))
