"""Threads, forks and signals end no process, change no result and leave no call waiting for ever."""

import sys
import threading
import time

import numpy as np
import pytest

import fastxent
from fastxent import _dispatch, cpu
from tests.processes import run

pytestmark = pytest.mark.slow

tbb, workqueue = (pytest.param(layer, marks=pytest.mark.exhaustive) for layer in ("tbb", "workqueue"))
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

FUNCTIONS = """
import os, signal, sys, threading, time
import numpy as np, numba, fastxent


def start(function):
    def run():
        try:
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def join(*threads):
    for thread in threads:
        thread.join()
    assert not failures, failures


def in_child(function):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0, "the child has failed"
        return
    signal.alarm(120)
    try:
        function()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


failures = []
"""
WORK = """
def results():
    yield from fastxent.cross_entropy_with_grad(large, y)
    yield from fastxent.cross_entropy_with_grad(small, y[:9])
    yield fastxent.sigmoid(large)


def work(times=1):
    for _ in range(times):
        for result, right in zip(results(), expected, strict=True):
            assert np.array_equal(result, right)


try:
    numba.get_num_threads()
except ValueError:
    sys.exit(print("missing"))
rng = np.random.default_rng(0)
large, small = rng.normal(size=(40, 1000)).astype(np.float32), rng.normal(size=(9, 7)).astype(np.float32)
y = rng.integers(0, 7, 40)
expected = list(results())
"""


def run_under(layer, program):
    out, _ = run(FUNCTIONS + WORK + program, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    if out == "missing\n":
        pytest.skip(f"Numba finds no {layer} here")
    assert layer in out.splitlines()  # tbb prints too, that it cannot stop its threads before a fork


@pytest.mark.parametrize("layer", ["omp", tbb, "workqueue"])
def test_any_number_of_python_threads_may_call_at_once(layer):
    """With workqueue the process aborts where two of them run parallel kernels."""
    program = """
join(*[start(lambda: work(100)) for _ in range(5)])
print(numba.threading_layer())
"""
    run_under(layer, program)


@needs_fork
@pytest.mark.parametrize("layer", ["omp", tbb, workqueue])
def test_children_call_after_a_fork_also_while_threads_of_their_parent_are_in_calls(layer):
    """GNU's OpenMP ends a child that runs a parallel kernel; a lock that a thread had stays taken."""
    program = """
def keep_working():
    while not stop.is_set():
        work()


in_child(work)
stop = threading.Event()
threads = [start(keep_working) for _ in range(2)]
for _ in range(10):
    in_child(work)
in_child(lambda: in_child(work))
stop.set()
join(*threads)
work()
print(numba.threading_layer())
"""
    run_under(layer, program)


@needs_fork
@pytest.mark.exhaustive
@pytest.mark.parametrize("layer", ["omp", tbb, "workqueue"])
def test_compiled_calls_beside_others_and_in_children(layer):
    """They can neither wait for their turn nor ask Python whether they are in a child."""
    program = """
@numba.njit
def loss_of(logits, targets):
    return fastxent.cross_entropy(logits, targets)


def work_compiled():
    for _ in range(2000):
        assert loss_of(large, y) == expected[0]


work_compiled()
join(*[start(function) for function in (lambda: work(100), work_compiled) * 2])
in_child(work_compiled)
print(numba.threading_layer())
"""
    run_under(layer, program)


@needs_fork
def test_children_of_a_process_that_has_started_no_threads_start_their_own():
    program = """
in_child(lambda: sys.exit(cpu.number_of_threads() - 2))
assert cpu.number_of_threads() == 2
in_child(lambda: sys.exit(cpu.number_of_threads() - 1))
"""
    program = program.replace("sys.exit(", "os._exit(")
    run(f"{FUNCTIONS}from fastxent import cpu\n{program}", NUMBA_NUM_THREADS="2")


@needs_fork
@pytest.mark.parametrize(
    ("library", "call"),
    [
        ("numpy as np", "fastxent.cross_entropy(np.zeros((40, 1000)), np.zeros(40, int))"),
        ("torch, fastxent.torch", "fastxent.torch.cross_entropy(torch.zeros(40, 1000), torch.arange(40))"),
    ],
    ids=["NumPy", "PyTorch"],
)
def test_children_call_though_a_thread_was_starting_numbas_threads_when_they_were_forked(library, call):
    """They would wait for its lock for ever, and their parent for the one that they share."""
    pytest.importorskip(library.split()[0].strip(","))
    program = f"""
import {library}
from numba.np.ufunc import parallel


def start_slowly():
    with parallel._backend_init_thread_lock:
        is_starting.set()
        time.sleep(0.3)
        return get_num_threads()


is_starting, get_num_threads = threading.Event(), numba.get_num_threads
numba.get_num_threads = start_slowly
thread = start(lambda: {call})
is_starting.wait()
in_child(lambda: {call})
join(thread)
{call}
"""
    run(FUNCTIONS + program)


@needs_fork
def test_children_compile_though_a_thread_was_compiling_when_they_were_forked():
    program = """
from numba.core import event

z = np.ones(3)
with event.install_recorder("numba:compile") as compilations:
    thread = start(lambda: fastxent.sigmoid(z))
    while not compilations.buffer:
        time.sleep(0.001)
    in_child(lambda: fastxent.sigmoid(z.astype(np.float32)))
join(thread)
"""
    run(FUNCTIONS + program, FASTXENT_CACHE="0")


@needs_fork
def test_children_compile_though_a_thread_was_in_llvm_when_they_were_forked():
    """Memory of machine code is given back there whenever Python collects garbage."""
    program = """
from llvmlite import binding


def stay_in_llvm():
    with binding.ffi.lib._lock:
        is_there.set()
        time.sleep(0.3)


is_there = threading.Event()
thread = start(stay_in_llvm)
is_there.wait()
in_child(lambda: fastxent.sigmoid(np.ones(3)))
join(thread)
"""
    run(FUNCTIONS + program, FASTXENT_CACHE="0")


@needs_fork
def test_threads_that_fork_at_once_wait_for_each_other_but_not_for_ever():
    program = """
def fork_often():
    for _ in range(150):
        in_child(lambda: None)


sys.setswitchinterval(1e-6)
signal.alarm(100)
join(*(start(fork_often) for _ in range(4)))
fastxent.sigmoid(np.ones(3))
"""
    run(FUNCTIONS + program)


@needs_fork
@pytest.mark.exhaustive
def test_pools_of_every_kind_of_process_call():
    program = """
import multiprocessing

for kind in "fork", "spawn", "forkserver":
    with multiprocessing.get_context(kind).Pool(1) as pool:
        loss, grad = pool.apply(fastxent.cross_entropy_with_grad, (large, y))
    assert loss == expected[0] and np.array_equal(grad, expected[1])
print(numba.threading_layer())
"""
    run_under("omp", program)


def test_another_thread_goes_on_while_a_kernel_runs(monkeypatch):
    """Python takes the GIL from no thread here, so the other has it only if the kernel gives it away."""
    logits, y = np.zeros((5000, 2000), np.float32), np.zeros(5000, np.int64)
    monkeypatch.setattr(_dispatch, "PARALLEL_FROM", logits.size + 1)  # one thread is longer at it
    fastxent.cross_entropy_with_grad(logits, y, grad_out=logits)
    stop, steps, steps_meanwhile = threading.Event(), 0, []

    def go_on():
        nonlocal steps
        while not stop.is_set():
            steps += 1
            time.sleep(0)

    def watched(entry):
        def call(*arguments):
            before = steps
            result = entry(*arguments)
            steps_meanwhile.append(steps - before)
            return result

        return call

    entries = cpu.cross_entropy_rows.entries
    for variant, entry in list(entries.items()):
        monkeypatch.setitem(entries, variant, watched(entry))
    interval, thread = sys.getswitchinterval(), threading.Thread(target=go_on)
    sys.setswitchinterval(1000)
    try:
        thread.start()
        for _ in range(10):
            fastxent.cross_entropy_with_grad(logits, y, grad_out=logits)
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()
    assert len(steps_meanwhile) == 10
    assert max(steps_meanwhile) > 10


def test_no_call_imports_what_threads_cannot_import_at_once():
    """NumPy's `np.ma`, on first use by two threads, calls itself until the stack is full."""
    run("import sys, fastxent; assert 'numpy.ma.core' in sys.modules")
