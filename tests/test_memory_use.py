"""How much memory calls take, and that arrays may be as large as memory."""

import os
import subprocess
import sys
import tracemalloc
from functools import partial

import numpy as np
import pytest

import fastxent
from tests.measure import assert_same_bits
from tests.tolerances import HUGE_LOSS_RELATIVE, HUGE_RELATIVE, relatively

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks what Linux tells of memory"),
]

CALLS = """
import gc, os
import numpy as np, fastxent
from numba.core.runtime import rtsys

z = np.linspace(-3, 3, 16 * 10, dtype=np.float32).reshape(16, 10)
y, t, p, lse = np.arange(16) % 10, np.full_like(z, 0.1), fastxent.softmax(z), np.empty(16, np.float32)
bad = np.full(16, 10)

def call(n):
    for _ in range(n):
        fastxent.cross_entropy_with_grad(z, y)
        fastxent.cross_entropy(z, y, reduction="none", lse_out=lse)
        fastxent.softmax(z), fastxent.sigmoid(z), fastxent.entropy(p)
        fastxent.kl_divergence(z, t), fastxent.binary_cross_entropy(z, t)
        for wrong in (bad, y[:5]):
            try:
                fastxent.cross_entropy_with_grad(z, wrong)
            except (IndexError, ValueError):
                pass
    gc.collect()
    stats = rtsys.get_allocation_stats()
    return resident(), stats.mi_alloc - stats.mi_free

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")

call(1000)
(before, alive), (after, alive_after) = call(10), call(11_111)
print(after - before, alive_after - alive)
"""

PEAK = """
import sys
import numpy as np, fastxent

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024

def solve(n_rows, n_classes):
    z = np.ones((n_rows, n_classes), np.float32)
    y = np.zeros(n_rows, np.int64)
    open("/proc/self/clear_refs", "w").write("5")  # the peak is now what there is
    before = status("VmRSS")
    fastxent.cross_entropy_with_grad(z, y, grad_out=z)
    return status("VmHWM") - before

n_rows, n_classes = map(int, sys.argv[1:])
solve(148_000 // n_classes, n_classes)
print(solve(n_rows, n_classes))
"""


def run(program, *arguments, **environment):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def test_a_hundred_thousand_calls_leave_nothing_behind():
    growth, n_arrays = run(CALLS, NUMBA_NRT_STATS="1")
    assert n_arrays == 0
    assert growth < 1 << 20


@pytest.mark.parametrize("shape", [(200_000, 50), (20_000, 500)], ids=str)
def test_in_place_takes_a_few_numbers_a_row_beside_the_logits(shape):
    (peak,) = run(PEAK, *shape)
    size = 4 * shape[0] * shape[1]
    assert peak < 64 * shape[0] + (4 << 20) < size // 2


def peak_of(call, logits):
    """The most that NumPy allocates meanwhile, in sizes of the logits."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / logits.nbytes
    finally:
        tracemalloc.stop()


def test_weights_that_vary_over_the_first_axis_are_spread_out_once():
    z, y = np.ones((2, 5000, 40), np.float32)
    for weight in np.ones((5000, 1)), np.ones_like(z):
        in_place = partial(fastxent.binary_cross_entropy_with_grad, z, y, weight=weight, grad_out=z)
        assert peak_of(in_place, z) < 1.25


def test_sigmoid_in_place_takes_no_memory_in_any_order():
    z = np.ones((5000, 40), np.float32)
    for logits in z, z.T:
        assert peak_of(partial(fastxent.sigmoid, logits, out=logits), z) < 0.01


HUGE = 2**31 + 70_000
"""Elements that 32 bits cannot count, and whose last row is a few."""


def available():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) * 1024


@pytest.mark.huge
@pytest.mark.skipif("available() < 12 << 30", reason="needs 9 GiB of memory")
@pytest.mark.parametrize("n_classes", [50, 5000, HUGE])
def test_more_elements_than_32_bits_count_are_as_their_rows_are(n_classes):
    n_rows = HUGE // n_classes
    memory = np.empty(HUGE, np.float32)
    logits = memory[: n_rows * n_classes].reshape(n_rows, n_classes)
    period = np.random.default_rng(0).normal(size=1_000_003).astype(np.float32)
    for start in range(0, HUGE, period.size):
        memory[start : start + period.size] = period[: HUGE - start]
    targets = np.full(n_rows, n_classes - 1)
    rows = sorted({0, n_rows // 2, 2**31 // n_classes - 1, n_rows - 1} & set(range(n_rows)))
    few = [logits[i : i + 1].copy() for i in rows] if n_rows > 1 else []
    last = logits[-1, -1000:].astype(np.float64)
    losses, _ = fastxent.cross_entropy_with_grad(logits, targets, reduction="none", grad_out=logits)
    for i, row in zip(rows, few, strict=bool(few)):
        loss, grad = fastxent.cross_entropy_with_grad(row, targets[:1], reduction="none")
        assert_same_bits(losses[i : i + 1], loss)
        assert_same_bits(logits[i : i + 1], grad)
    if n_rows == 1:
        lse = float(losses[0]) + last[-1]
        np.testing.assert_allclose(logits[0, -1000:-1], np.exp(last[:-1] - lse), rtol=HUGE_RELATIVE)
        assert logits[0, -1] == relatively(np.expm1(-float(losses[0])), HUGE_RELATIVE)
        assert np.isclose(losses[0], np.log(n_classes) + 0.5 - last[-1], rtol=HUGE_LOSS_RELATIVE)
