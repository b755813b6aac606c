"""How many threads a call may take, and when: Numba ends a process that takes them at a wrong time.

Its workqueue layer aborts if two Python threads run parallel kernels at once. Threads do not survive a fork,
and GNU's OpenMP ends a child that runs a parallel kernel.
"""

import os
import threading
from contextlib import ExitStack, contextmanager
from ctypes import addressof, c_int

import numba
from llvmlite import binding
from numba.core.compiler_lock import global_compiler_lock

from ..simd.callbacks import address_of

_turn = threading.RLock()  # a signal's handler may call while its own thread has it
_FORK_WAITS_FOR = global_compiler_lock, _turn, binding.ffi.lib._lock  # the last is had by who is in LLVM
_held = ExitStack()
_is_forked = False
_is_one = c_int()


def number_of_threads():
    """Numba's, for calls from Python; 1 in a child of a process that had started them."""
    if _is_forked:
        return 1
    with _turn:  # Numba starts its threads here, under locks that a child must not inherit taken
        return numba.get_num_threads()


@contextmanager
def at_most(n_threads):
    """For calls of this Python thread; its number is put back."""
    with _turn:
        before = numba.get_num_threads()
        numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        with _turn:
            numba.set_num_threads(before)


def addresses_for_compiled_code():
    """Of an int that is not 0 where the number is 1, and of what gives Numba's otherwise.

    Under workqueue it is 1: compiled code has no way to wait for its turn.
    """
    number_of_threads()
    if _layer() == "workqueue":
        _is_one.value = 1
    return addressof(_is_one), address_of("get_num_threads")


def taking_turns(entry):
    """A parallel kernel that Python calls, for any number of threads to call at once."""
    if _layer() != "workqueue":
        return entry

    def entry_in_turn(*arguments):
        with _turn:
            return entry(*arguments)

    return entry_in_turn


def _layer():
    """None before threads are started."""
    try:
        return numba.threading_layer()
    except ValueError:
        return None


def _before_fork():
    # What another thread compiles or computes is finished first: its locks would stay taken in the child.
    for lock in _FORK_WAITS_FOR:
        _held.enter_context(lock)


def _after_fork():
    # Taken off before one is free, when another thread that forks puts its own there.
    _held.pop_all().close()


def _after_fork_in_child():
    global _is_forked
    if _layer() is not None:
        _is_forked, _is_one.value = True, 1
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
