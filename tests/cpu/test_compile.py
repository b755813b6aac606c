"""Kernels are compiled once a dtype, and quickly."""

import numpy as np
import pytest
from numba import njit

import fastxent
from fastxent import cpu
from tests.processes import run

pytestmark = pytest.mark.slow


def test_no_layout_compiles_a_kernel_anew():
    targets = np.zeros(3, np.int64)
    fastxent.cross_entropy(np.zeros((3, 5), np.float32), targets)
    dispatcher = cpu.cross_entropy_lanes.dispatcher(False)
    before = len(dispatcher.overloads)
    read_only = np.zeros((3, 5), np.float32)
    read_only.flags.writeable = False
    for logits in (read_only, np.zeros((5, 3), np.float32).T, np.zeros((6, 10), np.float32)[::2, ::2]):
        fastxent.cross_entropy(logits, targets)
    assert len(dispatcher.overloads) == before


COSTS = """
import sys
import numpy as np, fastxent
from numba.core import event
x, y = np.linspace(-1, 1, {0} * {1}, dtype=np.float32).reshape({0}, {1}), np.arange({0}) % {1}
with event.install_recorder("numba:compile") as compiled:
    loss, _ = fastxent.cross_entropy_with_grad(x, y, grad_out=x)
n_functions = sum(e.is_start for _, e in compiled.buffer)
print(loss, n_functions, "numba.np.linalg" in sys.modules)
"""


@pytest.mark.parametrize(("n_rows", "n_classes", "most"), [(128, 10, 15), (512, 148, 25)])
def test_kernel_is_few_compiled_functions_and_none_from_the_cache(tmp_path, n_rows, n_classes, most):
    def costs():
        return run(COSTS.format(n_rows, n_classes), NUMBA_CACHE_DIR=str(tmp_path))[0].split()

    loss, n_functions, _ = costs()
    assert 1 <= int(n_functions) <= most
    assert costs() == [loss, "0", "False"], "more than machine code was loaded"


def test_compilation_of_other_functions_is_as_before():
    context = njit(lambda x: x)._compiler.targetdescr.target_context
    codegen = context.codegen()
    fastxent.cross_entropy(np.zeros((3, 5), np.float32), np.zeros(3, np.int64))
    square = njit(lambda x: x * x)
    assert square(3) == 9
    (compiled,) = square.overloads.values()
    assert context.codegen() is codegen
    assert type(compiled.library) is type(codegen.create_library("another"))
    assert compiled.library.codegen is codegen
