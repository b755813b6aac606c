"""Ctrl-C ends a call and leaves a process that works."""

import signal
import socket

import pytest

from fastxent.cpu.interrupts import interrupts_wait
from tests.processes import run


def test_ctrl_c_ends_calls_but_not_half_way_through_a_compilation():
    """Numba's modules, imported when it first compiles, say `duplicate registration` for ever after that."""
    program = """
import os, signal, threading, time
import numpy as np, fastxent
from fastxent import cpu

# A shell that runs the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def is_interrupted(seconds, function):
    timer = threading.Timer(seconds, signal.raise_signal, (signal.SIGINT,))
    try:
        timer.start()
        function()
        timer.join()
        time.sleep(0.01)
    except KeyboardInterrupt:
        return True


def call():
    for _ in range(1000):
        assert fastxent.cross_entropy(logits, y) == expected


logits, y, z = np.ones((40, 1000), np.float32), np.zeros(40, np.int64), np.ones(3)
os.environ["FASTXENT_CACHE"] = "0"
assert is_interrupted(0.2, lambda: fastxent.sigmoid(z))
assert cpu.sigmoid_blocks.dispatcher(False).overloads
del os.environ["FASTXENT_CACHE"]
expected = fastxent.cross_entropy(logits, y)
assert all([is_interrupted(0.02, call) for _ in range(5)])
call()
assert abs(fastxent.sigmoid(z)[0] - 0.7310585786300049) < 1e-15
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    run(program)


def test_those_whom_signals_wake_hear_once_of_ctrl_c_during_a_compilation():
    """As asyncio's loops are woken."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hearing, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno())
    try:
        with pytest.raises(KeyboardInterrupt), interrupts_wait():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, before)
    assert hearing.recv(9) == bytes([signal.SIGINT])
    hearing.close()
    told.close()
