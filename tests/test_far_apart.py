"""Numbers that lie further apart than 32 bits count, in bytes or in elements, are as good as side by side."""

import mmap
import sys

import numpy as np
import pytest

import fastxent
from tests import same_bits
from tests.measure import assert_same_bits
from tests.mixes import MIXES, problem, solve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="needs memory that is not there until it is touched"
    ),
]

MAP_NORESERVE = 0x4000  # which Python has no name for before 3.12
FAR = 2**31 + 2**13  # bytes
ELEMENTS_FAR = 2**33 + 2**13  # bytes to more than 2**31 float32
STEPS = {
    "rows": (FAR, 4),
    "rows, downwards": (-FAR, 4),
    "rows by elements": (ELEMENTS_FAR, 4),
    "rows by elements, downwards": (-ELEMENTS_FAR, -4),
    "classes": (4, FAR),
    "classes, downwards": (4, -FAR),
    "classes by elements": (-4, ELEMENTS_FAR),
    "both": (-130 * FAR, FAR),
}
"""For float32; those of wider numbers are in proportion."""


def far_apart(a, steps):
    """A copy with these strides, in memory that is mostly never touched."""
    strides = [step * a.itemsize // 4 for step in steps[: a.ndim]]
    reach = [(n - 1) * stride for n, stride in zip(a.shape, strides, strict=True)]
    start = -sum(r for r in reach if r < 0)
    size = start + sum(r for r in reach if r > 0) + a.itemsize
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    view = np.ndarray(a.shape, a.dtype, memory, start, strides)
    view[...] = a
    return view


each_step = pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)


@each_step
@pytest.mark.parametrize("shape", [(3, 7), (5, 130), (18, 130)], ids=str)
@pytest.mark.parametrize("mix", ["all hard", pytest.param("all soft", marks=pytest.mark.exhaustive)])
def test_losses_and_derivatives_are_those_of_numbers_side_by_side(mix, shape, steps):
    mix = MIXES[mix]
    logits, targets, options = problem(mix, *shape, np.float32)
    expected = solve(fastxent, mix, logits, targets, options, reduction="none")
    far = far_apart(logits, steps)
    outs = {name: far_apart(a, steps) for name, a in expected.items() if name.endswith("out")}
    options |= {name: far_apart(options[name], (FAR,)) for name in mix.weights}
    results = solve(
        fastxent, mix, far, far_apart(targets, steps), options, reduction="none", grad_out=far, **outs
    )
    assert results["grad"] is far
    for name, result in results.items():
        assert_same_bits(np.array(result), expected[name])
    assert_same_bits(np.array(outs["loss_out"]), expected["loss"])


@each_step
@pytest.mark.parametrize("name", same_bits.SIMPLEST)
def test_every_function_gives_the_bits_of_numbers_side_by_side(name, steps):
    p = same_bits.problem(20, 10, np.float32)
    expected = [np.array(result) for result in same_bits.FUNCTIONS[name](p, None)]
    far = same_bits.Problem(*(far_apart(a, steps) for a in p))
    for out in (far_apart(p.logits, steps), far.logits):
        for result, right in zip(same_bits.FUNCTIONS[name](far, out), expected, strict=True):
            assert_same_bits(np.array(result), right)
