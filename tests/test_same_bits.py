"""Threads, layers, processors, batches, places in memory: none decides a bit of any public function."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from tests import same_bits
from tests.layouts import LAYOUTS
from tests.measure import assert_same_bits
from tests.same_bits import DTYPES, FUNCTIONS, problem

pytestmark = pytest.mark.slow

# Whose kernels other tests compile as well, with few classes and with many.
ORDINARY = [
    *((name, (20, 10), np.float32) for name in FUNCTIONS if name in same_bits.SIMPLEST),
    ("cross_entropy_with_grad", (20, 118), np.float32),
    ("cross_entropy_with_grad", (20, 2070), np.float32),
]
# One dtype each; `python -m tests.same_bits` tries all.
OTHERS = [(name, (20, 118), DTYPES[i % len(DTYPES)]) for i, name in enumerate(FUNCTIONS)]
each = pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [*ORDINARY, *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in OTHERS)],
)


def at_byte(a, offset):
    """A copy that starts so many bytes from a multiple of 64."""
    memory = np.zeros(a.nbytes + 128, np.uint8)
    first = (offset - memory.ctypes.data) % 64
    copy = memory[first : first + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def results(name, p, out=None):
    return [np.array(result) for result in FUNCTIONS[name](p, out)]


def assert_all_same_bits(found, expected):
    for result, other in zip(found, expected, strict=True):
        assert_same_bits(result, other)


@each
def test_no_bit_depends_on_the_alignment_of_arguments_or_outputs(name, shape, dtype):
    p = problem(*shape, dtype)
    expected = results(name, p)
    for offset in range(64):
        moved = p._replace(logits=at_byte(p.logits, offset), probs=at_byte(p.probs, 63 - offset))
        out = at_byte(np.zeros_like(p.logits), (5 * offset + 3) % 64)
        assert_all_same_bits(results(name, moved, out), expected)


@each
def test_no_bit_of_a_row_depends_on_the_batch_or_its_place_there(name, shape, dtype):
    p = problem(2 * shape[0], shape[1], dtype)
    expected = results(name, p)
    for first, last in [*((0, n) for n in (*range(1, 20), 31, 32, 33)), (1, 2), (3, 40), (7, 24), (39, 40)]:
        part = results(name, p.rows(slice(first, last)))
        for result, whole in zip(part, expected, strict=True):
            if result.ndim:  # not the sum of all
                assert_same_bits(result, whole[first:last])


@each
def test_no_bit_depends_on_strides_nor_on_what_is_overwritten(name, shape, dtype):
    p = problem(*shape, dtype)
    expected = results(name, p)
    for layout in LAYOUTS.values():
        logits = layout(p.logits)
        here = p._replace(logits=logits, probs=layout(p.probs))
        assert_all_same_bits(results(name, here, layout(np.zeros_like(p.logits))), expected)
        assert_all_same_bits(results(name, here), expected)
        assert_all_same_bits(results(name, here, logits), expected)


def assert_equal_digests(runs):
    """One digest of each function, shape and dtype, whatever the run."""
    expected = {}
    for run, found in runs.items():
        assert found, run
        for result, digests in found.items():
            assert {*digests, expected.setdefault(result, digests[0])} == {digests[0]}, (run, result)


def test_no_bit_depends_on_the_number_of_threads_or_their_layer():
    layers = same_bits.layers_here()
    assert {"workqueue", "omp"} & set(layers)
    runs = {layer: same_bits.under_layer(layer, "--quick", "--few") for layer in layers}
    assert all(len(digests) == 3 for found in runs.values() for digests in found.values())
    assert_equal_digests(runs)


@pytest.mark.exhaustive
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names x86 processors")
def test_no_bit_depends_on_the_processor():
    options = "--small", "--quick", "--few"
    runs = {name: same_bits.for_processor(name, *options) for name in same_bits.processors_here()}
    assert_equal_digests({"this processor": same_bits.run({}, *options), **runs})


@pytest.mark.exhaustive
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names x86 processors")
def test_processors_without_fma_are_as_exact():
    tests = ["tests/test_losses.py", "tests/test_activations.py"]
    which = "promised_digits or number_of_classes_and_rows"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests, "-k", which]
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
