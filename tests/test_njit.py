"""Called from `@njit` functions, cross-entropy gives what it gives from Python, bit for bit."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import njit, prange
from numba.core.runtime import _nrt_python
from numba.core.runtime.nrt import rtsys

import fastxent
from fastxent import _dispatch, _njit, cpu
from tests.compiled import (
    batch,
    in_place,
    loss_of,
    row_by_row,
    solve_compiled,
    with_numbers,
    with_weight,
    with_z_loss,
)
from tests.mixes import ALL_WITH_HESSIAN, problem, solve
from tests.processes import LIBRARIES


@pytest.mark.parametrize("shape", [(33, 7), (9, 130), (40, 1100)], ids=str)
def test_loss_and_gradient_are_those_from_python(shape):
    logits, targets = batch(*shape)
    expected_loss, expected_grad = fastxent.cross_entropy_with_grad(logits, targets)
    assert loss_of(logits, targets) == fastxent.cross_entropy(logits, targets) == expected_loss
    loss, grad = in_place(logits, targets)
    assert loss == expected_loss
    assert np.shares_memory(grad, logits)
    assert np.array_equal(logits, expected_grad)


@pytest.mark.parametrize("shape", [(21, 7), (21, 130), (3, 7, 7)], ids=str)
def test_options_and_outputs_are_those_from_python(shape):
    logits, targets, options = problem(ALL_WITH_HESSIAN, 21, shape[-1])
    logits, targets = logits.reshape(shape), targets.reshape(shape[:-1])
    options["sample_weight"] = options["sample_weight"].reshape(shape[:-1])
    expected = solve(fastxent, ALL_WITH_HESSIAN, logits, targets, options, reduction="none")
    results = solve_compiled(ALL_WITH_HESSIAN, logits, targets, options)
    assert results.keys() == expected.keys()
    for name, result in results.items():
        assert np.array_equal(result, expected[name], equal_nan=True), name


@pytest.mark.parametrize("numbers", [(1.5, 6.0, 7.5), (0.0, 2.0, 1.0)], ids=str)
def test_a_focal_exponent_a_softcap_and_a_normalizer_do_what_they_do_from_python(numbers):
    logits, targets = batch(12, 7, np.float64)
    options = dict(zip(("focal_gamma", "softcap", "normalizer"), numbers, strict=True))
    loss, grad = with_numbers(logits, targets, *numbers)
    expected, expected_grad = fastxent.cross_entropy_with_grad(logits, targets, **options)
    assert loss == expected
    assert np.array_equal(grad, expected_grad)


@pytest.mark.slow
def test_weights_that_lie_apart_are_those_from_python():
    logits, targets = batch(12, 7, np.float64)
    weight = np.linspace(0, 2, 14)[::2]
    loss, grad = with_weight(logits, targets, weight)
    expected, expected_grad = fastxent.cross_entropy_with_grad(logits, targets, weight=weight)
    assert loss == expected
    assert np.array_equal(grad, expected_grad)


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_an_option_that_turns_out_to_be_off_is_left_out_as_from_python(z_loss):
    """0·∞ would make the loss of the first row NaN."""
    logits, targets = batch(12, 7)
    logits[0, targets[0] - 1] = np.inf
    loss, grad = with_z_loss(logits, targets, z_loss)
    expected, expected_grad = fastxent.cross_entropy_with_grad(
        logits, targets, z_loss=z_loss, reduction="sum"
    )
    assert loss == expected == np.inf
    assert np.array_equal(grad, expected_grad, equal_nan=True)


@pytest.mark.parametrize("n_classes", [7, 130])
def test_a_row_in_a_fastmath_function_is_that_of_the_batch_with_nan_and_infinities(n_classes):
    logits, targets = batch(9, n_classes)
    logits[0, 1], logits[1, 2], logits[3, 3:] = np.nan, np.inf, -np.inf
    losses = np.empty(9, np.float32)
    expected, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    row_by_row(logits, targets, losses)
    assert np.array_equal(losses, expected, equal_nan=True)
    assert np.array_equal(logits, grad, equal_nan=True)


@pytest.mark.slow
def test_other_layouts_axes_and_integers_are_those_from_python():
    logits, targets = batch(30, 7, np.float64)
    apart = logits.reshape(5, 6, 7)[::2, ::3]
    labels = np.where(targets < 0, 255, targets).astype(np.uint8).reshape(5, 6)[::2, ::3]

    @njit
    def of_many_axes(logits, targets):
        return fastxent.cross_entropy_with_grad(logits, targets, ignore_index=255, axis=2)

    expected_loss, expected_grad = fastxent.cross_entropy_with_grad(apart, labels, ignore_index=255)
    loss, grad = of_many_axes(apart, labels)
    assert loss == expected_loss
    assert np.array_equal(grad, expected_grad)


def test_outputs_of_a_row_may_be_arrays_without_axes():
    @njit
    def row(logits, target, loss, lse):
        fastxent.cross_entropy(logits, target, loss_out=loss, lse_out=lse)

    logits = np.arange(7.0)
    outs, expected = (np.zeros(()), np.zeros(())), (np.zeros(()), np.zeros(()))
    row(logits, 3, *outs)
    fastxent.cross_entropy(logits, 3, loss_out=expected[0], lse_out=expected[1])
    assert outs == expected


def test_a_large_batch_takes_all_threads_but_in_a_parallel_loop_one(monkeypatch):
    asked = []
    address = cpu.Kernel.address

    def spy(self, parallel, signature):
        asked.append(parallel)
        return address(self, parallel, signature)

    monkeypatch.setattr(cpu.Kernel, "address", spy)
    logits, targets = batch(40, 1000)
    logits = logits[::-1]  # a type of its own, for which no address was asked before
    assert logits.size >= _dispatch.PARALLEL_FROM

    @njit(parallel=True)
    def inside_and_outside(logits, targets):
        losses = np.empty(3)
        for i in prange(2):
            losses[i] = fastxent.cross_entropy(logits, targets)
        losses[2] = fastxent.cross_entropy(logits, targets)
        return losses

    expected = fastxent.cross_entropy(logits, targets)
    assert np.array_equal(inside_and_outside(logits, targets), [expected] * 3)
    assert set(asked) == {False, numba.get_num_threads() > 1}


USER = """
import numba, numpy as np, fastxent

@numba.njit(cache=True, parallel=True)
def row_by_row(logits, targets, losses, grad):
    batches = np.empty(len(targets))
    for i in numba.prange(len(targets)):
        losses[i], _ = fastxent.cross_entropy_with_grad(
            logits[i], targets[i], reduction="none", grad_out=grad[i]
        )
        batches[i] = fastxent.cross_entropy(logits, targets)
    return batches
"""
SCRIPT = """
import sys
import numba, numpy as np, fastxent
from fastxent.cpu import calls
from user import row_by_row

rng = np.random.default_rng(0)
logits, targets = rng.normal(size=(33, 1000)).astype(np.float32), rng.integers(0, 1000, 33)
expected, expected_grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
expected_loss = fastxent.cross_entropy(logits, targets)
if sys.argv[1:]:
    calls.source_digest = lambda: "that of another version"
losses, grad = np.empty(33, np.float32), np.empty_like(logits)
batches = row_by_row(logits, targets, losses, grad)
assert numba.config.THREADING_LAYER in ("default", numba.threading_layer())
assert np.array_equal(losses, expected) and np.array_equal(grad, expected_grad)
assert (batches == expected_loss).all()
print(sum(row_by_row.stats.cache_hits.values()))
"""


@pytest.fixture(scope="module")
def run_with_user(tmp_path_factory):
    """Runs a script in a new process that finds the package, and a module of its user."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "user.py").write_text(USER)
    path = os.pathsep.join([str(folder), str(Path(fastxent.__file__).parent.parent)])

    def run(script, *arguments, **environment):
        command = [sys.executable, "-c", script, *arguments]
        environment |= {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": LIBRARIES, **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["omp", pytest.param("tbb", marks=pytest.mark.exhaustive), "workqueue"])
def test_rows_and_batches_in_a_parallel_loop_are_those_from_python(layer, run_with_user):
    """With workqueue the process aborts if a batch, in the loop, tries to start threads of its own."""
    run = run_with_user(SCRIPT, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    if "No threading layer could be loaded" in run.stderr:
        pytest.skip(f"Numba finds no {layer} here")
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_a_function_is_loaded_from_the_cache_but_not_with_another_version(run_with_user):
    run_with_user(SCRIPT)
    for arguments, hits in (((), "1"), (("another",), "0")):
        run = run_with_user(SCRIPT, *arguments)
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == hits


@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_with_grad"])
def test_every_argument_has_the_name_and_default_that_it_has_from_python(name):
    def parameters(function):
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    assert parameters(getattr(_njit, f"_{name}")) == parameters(getattr(fastxent, name))


def test_calls_release_all_the_memory_that_they_took():
    logits, targets, options = problem(ALL_WITH_HESSIAN, 9, 7)

    _nrt_python.memsys_enable_stats()

    def balance():
        stats = rtsys.get_allocation_stats()
        return stats.alloc - stats.free, stats.mi_alloc - stats.mi_free

    before = balance()
    for _ in range(3):
        solve_compiled(ALL_WITH_HESSIAN, logits, targets, options)
        row_by_row(logits.astype(np.float32), targets, np.empty(9, np.float32))
    assert balance() == before


def test_a_mean_over_classes_of_no_weight_has_no_slope_even_in_rows_of_nan():
    logits = np.full((3, 7), np.nan)
    loss, grad = with_weight(logits, np.ones(3, int), np.where(np.arange(7) == 1, 0.0, 2.0))
    assert loss == 0.0
    assert not grad.any()
