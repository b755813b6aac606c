"""Working memory of the kernels."""

import os
import subprocess
import sys

import pytest

from tests.mixes import LANES, SHORT

pytestmark = pytest.mark.slow

CALLS = """
import numpy as np
import fastxent

rng = np.random.default_rng(0)
for n_rows, n_classes in {}:
    z = rng.normal(size=(n_rows, n_classes)).astype(np.float32)
    y, t = rng.integers(0, n_classes, n_rows), rng.random(z.shape, np.float32)
    hess, half, out = np.empty_like(z), z.astype(np.float16), np.empty((n_rows, 2 * n_classes), np.float32)
    _, grad = fastxent.cross_entropy_with_grad(z, y)
    fastxent.cross_entropy_with_grad(z, y, grad_out=out[:, ::2])
    assert np.array_equal(grad, out[:, ::2])
    fastxent.cross_entropy_with_grad(z, y, hess_out=hess)
    fastxent.cross_entropy_with_grad(z, t, softcap=9.0, label_smoothing=0.1)
    fastxent.cross_entropy_with_grad(half, y)
    fastxent.cross_entropy_with_grad(z.T.copy(), y, axis=0)
    p = fastxent.softmax(z)
    fastxent.log_softmax(z), fastxent.log_loss(p, y), fastxent.softmax_grad(p, grad)
    fastxent.cross_entropy_with_grad(z, y, grad_out=z)
    assert np.array_equal(z, grad)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="sets what only the C library of Linux knows"
)
@pytest.mark.parametrize(
    "shapes",
    [[(40, LANES), (40, SHORT)], pytest.param([(20, 3000), (8, 150_000)], marks=pytest.mark.exhaustive)],
    ids=str,
)
def test_no_kernel_uses_memory_that_it_has_given_back(shapes):
    """Every allocation is one from the system, so that what is given back can no longer be touched."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "256", "MALLOC_MMAP_MAX_": "1000000"}
    done = subprocess.run(
        [sys.executable, "-c", CALLS.format(shapes)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
