"""What is wrong is said as on the CPU, before anything is written; and nothing is moved unasked."""

import numpy as np
import pytest

import fastxent
from fastxent.cuda import to_device
from tests.cuda.moved import Borrowed, to_host

LOGITS = np.random.default_rng(0).normal(0, 3, (3, 40)).astype(np.float32)
TARGETS = np.array([1, 2, 3])


def case(there):
    """Wrong calls by name; `there` moves an array, or leaves it where it is."""
    rows, matrix = np.zeros(3, np.float32), np.zeros((3, 40), np.float32)
    return {
        "dtype": (there(LOGITS.astype(int)), TARGETS, {}),
        "byte order": (there(LOGITS.astype(">f4")), TARGETS, {}),
        "scalar": (there(np.zeros(())), TARGETS, {}),
        "axis": (there(LOGITS), TARGETS, {"axis": 2}),
        "targets' shape": (there(LOGITS), there(TARGETS[:2]), {}),
        "targets' dtype": (there(LOGITS), there(TARGETS.astype(bool)), {}),
        "float targets' shape": (there(LOGITS), there(rows), {}),
        "ignore_index": (there(LOGITS), TARGETS, {"ignore_index": 1.5}),
        "reduction": (there(LOGITS), TARGETS, {"reduction": "average"}),
        "normalizer": (there(LOGITS), TARGETS, {"normalizer": 0}),
        "label_smoothing": (there(LOGITS), TARGETS, {"label_smoothing": 1.5}),
        "focal_gamma": (there(LOGITS), TARGETS, {"focal_gamma": -1}),
        "softcap": (there(LOGITS), TARGETS, {"softcap": 0}),
        "logit_scale": (there(LOGITS), TARGETS, {"logit_scale": "1"}),
        "weight's shape": (there(LOGITS), TARGETS, {"weight": np.ones(3)}),
        "weight's values": (there(LOGITS), TARGETS, {"weight": there(-np.ones(40))}),
        "sample_weight": (there(LOGITS), TARGETS, {"sample_weight": there(np.full(3, np.nan))}),
        "loss_out's dtype": (there(LOGITS), TARGETS, {"loss_out": there(np.zeros(3))}),
        "lse_out's shape": (there(LOGITS), TARGETS, {"lse_out": there(rows[:2])}),
        "rank_out's dtype": (there(LOGITS), TARGETS, {"rank_out": there(rows)}),
        "hess_out's shape": (there(LOGITS), TARGETS, {"hess_out": there(matrix[:2])}),
        "grad_out's dtype": (there(LOGITS), TARGETS, {"grad_out": there(matrix.astype(float))}),
        "hess_out and softcap": (there(LOGITS), TARGETS, {"hess_out": there(matrix), "softcap": 3.0}),
        "targets_grad_out": (there(LOGITS), TARGETS, {"targets_grad_out": there(matrix)}),
        "a bad target": (there(LOGITS), there(np.array([1, -7, 40])), {}),
        "a bad target of the host": (there(LOGITS), [1, 2, 40], {}),
        "a bad target beyond int64": (there(LOGITS), there(np.array([1, 2**64 - 100, 1], np.uint64)), {}),
    }


@pytest.mark.parametrize("name", case(np.asarray))
def test_the_error_is_the_one_of_the_cpu(name):
    errors = []
    for there in (np.asarray, to_device):
        logits, targets, options = case(there)[name]
        with pytest.raises((TypeError, ValueError, IndexError)) as raised:
            fastxent.cross_entropy_with_grad(logits, targets, **options)
        errors.append((raised.type, str(raised.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("n_classes", [10, 70, 200])
def test_a_bad_target_leaves_every_output_as_it_was(n_classes):
    logits = to_device(np.ones((5, n_classes), np.float32))
    outs = {name: to_device(np.full(5, 7, np.float32)) for name in ("loss_out", "lse_out", "entropy_out")}
    outs["rank_out"] = to_device(np.full(5, 7))
    outs["hess_out"] = to_device(np.full((5, n_classes), 7, np.float32))
    targets = to_device(np.array([0, 1, n_classes, 2, -1]))
    with pytest.raises(IndexError, match=rf"targets\[2\] is {n_classes}, expected a class from 0"):
        fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits, **outs)
    assert np.all(to_host(logits) == 1)
    for out in outs.values():
        assert np.all(to_host(out) == 7)


def test_soft_targets_are_not_there_yet_and_say_so():
    soft = np.full((3, 40), 1 / 40, np.float32)
    for targets in (soft, to_device(soft)):
        with pytest.raises(NotImplementedError, match="targets that are floats"):
            fastxent.cross_entropy(to_device(LOGITS), targets)


def test_classes_beyond_32_bits_are_refused():
    logits = Borrowed(np.broadcast_to(np.float32(0), (1, 2**31)))
    for refused in (fastxent.logsumexp, lambda z: fastxent.cross_entropy(z, [2**31 - 1])):
        with pytest.raises(NotImplementedError, match="at most 2147483647 classes, got 2147483648"):
            refused(logits)


def test_outputs_must_be_on_the_gpu_with_the_logits():
    with pytest.raises(TypeError, match="grad_out must be on the GPU, as logits are; got ndarray"):
        fastxent.cross_entropy_with_grad(to_device(LOGITS), TARGETS, grad_out=LOGITS.copy())
    with pytest.raises(TypeError, match="rank_out must be on the GPU"):
        fastxent.cross_entropy(to_device(LOGITS), TARGETS, rank_out=np.empty(3, int))


def test_outputs_over_weights_are_refused():
    row = to_device(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="loss_out must not overlap sample_weight"):
        fastxent.cross_entropy(to_device(LOGITS), TARGETS, sample_weight=row, loss_out=row)
    assert np.all(to_host(row) == 1)


def test_targets_of_foreign_byte_order_must_be_on_the_host():
    targets = TARGETS.astype(TARGETS.dtype.newbyteorder())
    assert fastxent.cross_entropy(to_device(LOGITS), targets) > 0
    with pytest.raises(TypeError, match="targets on the GPU must be in native byte order"):
        fastxent.cross_entropy(to_device(LOGITS), Borrowed(targets))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("targets", lambda there: fastxent.cross_entropy(LOGITS, there(TARGETS))),
        ("weight", lambda there: fastxent.cross_entropy(LOGITS, TARGETS, weight=there(np.ones(40)))),
        ("logits", lambda there: fastxent.sigmoid(there(LOGITS))),
        ("probs", lambda there: fastxent.softmax_grad(there(LOGITS), there(LOGITS))),
        ("logits", lambda there: fastxent.binary_cross_entropy(there(LOGITS), there(LOGITS))),
        ("logits", lambda there: fastxent.kl_divergence(there(LOGITS), there(LOGITS))),
        ("probs", lambda there: fastxent.log_loss(there(LOGITS), TARGETS)),
        ("probs", lambda there: fastxent.entropy(there(LOGITS))),
    ],
)
def test_nothing_is_copied_to_the_host_unasked(name, call):
    with pytest.raises(NotImplementedError, match=f"^{name} is on a GPU"):
        call(to_device)


def test_read_only_masked_and_unaligned_arrays_are_refused():
    read_only = Borrowed(LOGITS)
    read_only.__cuda_array_interface__["data"] = (read_only.__cuda_array_interface__["data"][0], True)
    with pytest.raises(ValueError, match="grad_out must be writeable"):
        fastxent.cross_entropy_with_grad(read_only, TARGETS, grad_out=read_only)
    with pytest.raises(TypeError, match="logits must be a plain array, got one with a mask"):
        fastxent.cross_entropy(Borrowed(LOGITS, mask=LOGITS), TARGETS)
    unaligned = Borrowed(LOGITS)
    unaligned.__cuda_array_interface__["data"] = (unaligned.__cuda_array_interface__["data"][0] + 1, False)
    with pytest.raises(ValueError, match="logits must lie at multiples of its 4 bytes"):
        fastxent.cross_entropy(unaligned, TARGETS)
