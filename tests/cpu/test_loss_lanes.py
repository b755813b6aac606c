"""Few classes, one row a lane: the long tiles of large batches change no bit."""

import numpy as np
import pytest

import fastxent
from fastxent import _dispatch, cpu
from tests.measure import assert_same_bits
from tests.mixes import MIXES, problem, solve

pytestmark = pytest.mark.slow
exhaustive = pytest.mark.exhaustive


@pytest.mark.parametrize("name", ["all with Hessian", "all soft"])
@pytest.mark.parametrize(
    "dtype",
    [np.float32, pytest.param(np.float64, marks=exhaustive), pytest.param(np.float16, marks=exhaustive)],
)
def test_rows_in_long_tiles_are_as_in_others(name, dtype, monkeypatch):
    monkeypatch.setattr(cpu, "number_of_threads", lambda: 1)
    mix = MIXES[name]
    for n_classes in (1, 3, 10, cpu.FEW_CLASSES):
        for n_rows in (1, 16, 31, 32, 33, 70):
            logits, targets, options = problem(mix, n_rows, n_classes, dtype)
            expected = solve(fastxent, mix, logits, targets, options)
            with monkeypatch.context() as patch:
                patch.setattr(_dispatch, "PARALLEL_FROM", 0)
                results = solve(fastxent, mix, logits, targets, options)
            for output, result in results.items():
                assert_same_bits(result, expected[output])


def test_large_batches_take_long_tiles(monkeypatch):
    calls = []
    monkeypatch.setattr(cpu.Kernel, "__call__", lambda self, *_: calls.append(self) or (0.0, -1))
    for kernel in (cpu.cross_entropy_lanes, cpu.cross_entropy_long_tiles):
        monkeypatch.setattr(kernel, "entries", {})
    n_rows = _dispatch.PARALLEL_FROM // 8
    for logits in (np.zeros((n_rows - 1, 8)), np.zeros((n_rows, 8))):
        targets = np.zeros(len(logits), int)
        fastxent.cross_entropy(logits, targets)
        fastxent.cross_entropy(logits, targets, label_smoothing=0.1)
    assert calls == 2 * [cpu.cross_entropy_lanes] + 2 * [cpu.cross_entropy_long_tiles]
