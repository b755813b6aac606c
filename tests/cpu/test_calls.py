"""What compiled code asks of Python: kernels and the number of threads, whatever interrupts it."""

import pickle
import pickletools
import signal
import sys

import numpy as np
import pytest
from numba import njit

import fastxent
from fastxent import cpu
from fastxent.cpu import Options, cache, calls
from tests.compiled import batch, loss_of
from tests.processes import run

pytestmark = pytest.mark.slow


class Stop(Exception):
    """What a signal's handler raises here, in place of Ctrl-C's KeyboardInterrupt."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer that signals")
def test_what_a_signal_raises_during_a_compiled_loop_ends_it():
    """Python would run the handler where the loop asks it for the number of threads, and forget the rest."""

    @njit
    def losses_of(logits, targets, n):
        losses = np.empty(n)
        for i in range(n):
            losses[i] = loss_of(logits, targets)
        return losses

    def stop(*_):
        raise Stop

    logits, targets = batch(40, 1000)
    expected = losses_of(logits, targets, 1)[0]
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Stop):
            losses_of(logits, targets, 1_000_000)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert losses_of(logits, targets, 1)[0] == expected


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer that signals")
def test_ctrl_c_within_a_try_of_compiled_code_is_caught_there():
    @njit
    def is_caught(logits, targets, n):
        for _ in range(n):
            try:
                fastxent.cross_entropy(logits, targets)
            except Exception:
                return True
        return False

    logits, targets = batch(40, 1000)
    assert not is_caught(logits, targets, 1)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert is_caught(logits, targets, 100_000)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_while_a_kernel_is_compiled_for_compiled_code_interrupts_it(monkeypatch):
    @njit
    def solve(logits, targets):
        return fastxent.cross_entropy(logits, targets, z_loss=0.2, label_smoothing=0.1)

    logits, targets = batch(9, 7)
    address, asked = cpu.Kernel.address, []

    def interrupted(*arguments):
        asked.append(address(*arguments))
        if len(asked) == 1:
            raise KeyboardInterrupt
        return asked[-1]

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(cpu.Kernel, "address", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solve(logits, targets)
    finally:
        signal.signal(signal.SIGINT, before)
    assert solve(logits, targets) == fastxent.cross_entropy(logits, targets, z_loss=0.2, label_smoothing=0.1)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="it is CPython's")
def test_a_thread_without_the_gil_is_not_taken_for_one_with_it_after_a_second_interpreter():
    script = """
import numpy as np, numba, fastxent
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters  # before Python 3.13

@numba.njit(parallel=True, nogil=True)
def losses_of(logits, targets):
    losses = np.empty(4)
    for i in numba.prange(4):
        losses[i] = fastxent.cross_entropy(logits, targets)
    return losses

_interpreters.destroy(_interpreters.create())
logits, targets = np.zeros((64, 1000), np.float32), np.zeros(64, np.int64)
assert np.allclose(losses_of(logits, targets), np.log(1000))
print("done")
"""
    assert run(script)[0] == "done\n"


def test_what_numbas_cache_keeps_of_another_version_is_refused_before_it_is_looked_at(monkeypatch):
    """Its modules and classes may have gone."""
    callback = calls._callback(calls._Addresses, cache.source_digest(), Options)
    pickled = pickle.dumps(callback)
    assert pickle.loads(pickled) is callback
    names = [name for _, name, _ in pickletools.genops(pickled) if isinstance(name, str)]
    assert names[:2] == ["fastxent.cpu.calls", "_from_cache"]
    assert not [name for name in names[2:] if name != cache.source_digest()]
    monkeypatch.setattr(calls, "source_digest", lambda: "that of another version")
    with pytest.raises(OSError, match="another version"):
        pickle.loads(pickled)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_kernel_that_cannot_be_had_is_an_error_each_time(monkeypatch):
    """ctypes prints what a callback raises, and leaves what it returns as it was."""

    @njit
    def solve(logits, targets):
        return fastxent.cross_entropy(logits, targets, z_loss=0.1)  # the address of no other test's kernel

    logits, targets = batch(9, 7)
    with monkeypatch.context() as patch:
        patch.setattr(cpu.Kernel, "address", lambda *_: 1 / 0)
        for _ in range(5):
            with pytest.raises(RuntimeError, match="asked of Python failed"):
                solve(logits, targets)
    assert solve(logits, targets) == fastxent.cross_entropy(logits, targets, z_loss=0.1)
