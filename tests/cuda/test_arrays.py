"""Arrays of any library are taken as they are, on their streams, and what comes back stays on the GPU."""

import numpy as np
import pytest

import fastxent
from fastxent.cuda import arrays, is_available, package, to_device
from tests.cuda.moved import Borrowed, to_host

LOGITS = np.random.default_rng(0).normal(0, 3, (3, 40)).astype(np.float32)
TARGETS = np.array([1, 2, 3])


def test_results_for_each_row_stay_on_the_gpu_and_scalars_are_floats():
    there = to_device(LOGITS)
    losses, grad = fastxent.cross_entropy_with_grad(there, TARGETS, reduction="none")
    for result, expected in ((losses, (3,)), (grad, (3, 40)), (fastxent.softmax(there), (3, 40))):
        assert type(result) is type(there)
        assert tuple(result.shape) == expected
    assert type(fastxent.cross_entropy(there, TARGETS)) is float


def test_outputs_are_what_was_handed_in():
    loss_out, grad_out = Borrowed(np.empty(3, np.float32)), Borrowed(LOGITS)
    loss, grad = fastxent.cross_entropy_with_grad(
        to_device(LOGITS), TARGETS, reduction="none", loss_out=loss_out, grad_out=grad_out
    )
    assert (loss, grad) == (loss_out, grad_out)


def test_two_bytes_of_no_name_are_bfloat16_as_pytorch_and_cupy_have_it():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    half = Borrowed(LOGITS.astype(bfloat16), typestr="<V2")
    assert arrays.view_of("logits", half).dtype == bfloat16
    assert fastxent.cross_entropy(half, TARGETS) == fastxent.cross_entropy(
        to_device(LOGITS.astype(bfloat16)), TARGETS
    )


def test_strides_may_be_left_out_as_the_interface_has_it():
    lent = Borrowed(LOGITS, strides=None)
    assert fastxent.cross_entropy(lent, TARGETS) == fastxent.cross_entropy(to_device(LOGITS), TARGETS)


@pytest.mark.parametrize(
    ("logits", "targets", "expected"),
    [(None, None, []), (7, None, [7]), (7, 7, [7]), (7, 9, [7, 9]), (None, 1, [1])],
)
def test_work_is_put_on_the_logits_stream_after_what_others_wait_for(monkeypatch, logits, targets, expected):
    asked, waits = [], []
    monkeypatch.setattr(package, "stream_at", lambda number: asked.append(number) or f"stream {number}")
    monkeypatch.setattr(package, "wait", lambda stream, other: waits.append((stream, other)))
    stream = arrays.ready_on(Borrowed(LOGITS, stream=logits), Borrowed(TARGETS, stream=targets), None)
    assert stream == (f"stream {logits}" if logits else 0)
    assert asked == expected
    assert waits == ([(stream, f"stream {targets}")] if targets and targets != logits else [])


@pytest.mark.parametrize("function", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize(("out", "expected"), [(None, []), (7, []), (9, ["stream 9"])])
def test_who_waits_for_an_output_waits_for_what_is_written_there(monkeypatch, function, out, expected):
    streams, waits = {7: 0, 9: "stream 9"}, []
    monkeypatch.setattr(package, "stream_at", streams.get)
    monkeypatch.setattr(package, "wait", lambda stream, other: waits.append((stream, other)))
    result = np.empty(3 if function == "logsumexp" else LOGITS.shape, np.float32)
    getattr(fastxent, function)(Borrowed(LOGITS, stream=7), out=Borrowed(result, stream=out))
    assert [stream for stream, other in waits if other == 0] == expected


def test_no_address_on_the_host_is_given_for_an_array_of_no_elements(monkeypatch):
    monkeypatch.setattr(package, "IS_SIMULATED", False)
    monkeypatch.setattr(package.numba_cuda, "from_cuda_array_interface", lambda d, sync: d, raising=False)
    assert package.device_array(np.empty((0, 5)))["data"] == (0, False)
    assert package.device_array(LOGITS)["data"][0] == LOGITS.ctypes.data


def test_bfloat16_is_moved_as_what_has_a_buffer(monkeypatch):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    monkeypatch.setattr(package, "IS_SIMULATED", False)
    monkeypatch.setattr(package.numba_cuda, "to_device", lambda a, stream: np.array(memoryview(a)))
    for half in (LOGITS.astype(bfloat16), LOGITS.astype(bfloat16).T, np.empty((0, 5), bfloat16)):
        there = package.to_device(half, 0)
        assert (there.dtype, there.shape) == (bfloat16, half.shape)
        assert np.array_equal(there, half)


def test_moving_keeps_values_and_what_is_there_stays():
    there = to_device(LOGITS[:, ::2])
    assert np.array_equal(to_host(there), LOGITS[:, ::2])
    assert to_device(there) is there
    assert is_available()
