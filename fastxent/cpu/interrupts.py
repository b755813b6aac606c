"""Ctrl-C waits while Numba compiles: what it then imports cannot be imported again after half an import."""

import signal
import sys
import threading
from contextlib import contextmanager


@contextmanager
def interrupts_wait():
    """In the main thread, the only one that Python interrupts."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed and callable(handler):
            handler(signal.SIGINT, sys._getframe())
        elif pressed:
            signal.raise_signal(signal.SIGINT)
