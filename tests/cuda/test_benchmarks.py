"""The benchmark on a GPU checks what it times."""

import sys
from pathlib import Path

import numpy as np
import pytest

import fastxent
from fastxent.cuda import to_device

sys.path.append(str(Path(__file__).parents[2] / "asv_benchmarks"))  # as for its scripts

from benchmarks import on_gpu


@pytest.mark.parametrize("dtype", on_gpu.DTYPES)
def test_a_result_that_is_wrong_is_not_timed(dtype):
    pytest.importorskip("ml_dtypes")
    problem = on_gpu.GPUProblem((20, 40), dtype).checked()
    problem.refill()
    loss, grad = problem.fastxent()
    problem.check(loss, grad)
    with pytest.raises(AssertionError, match="off by"):
        problem.check(1.1 * loss, grad)
    with pytest.raises(AssertionError, match="off by"):
        problem.check(loss, to_device(np.zeros((20, 40), np.float32)))


def test_the_simulator_is_not_timed(monkeypatch):
    if not on_gpu.why_not():
        pytest.skip("there is a GPU")
    with pytest.raises(NotImplementedError, match="simulator"):
        on_gpu.CrossEntropyWithGradOnGPU().setup((20, 40), "float32")
    monkeypatch.delattr(fastxent, "cuda")
    monkeypatch.delattr(fastxent, "__getattr__")
    assert "has no GPU path" in on_gpu.why_not()
