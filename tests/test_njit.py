"""Called from `@njit` functions, cross-entropy gives what it gives from Python, bit for bit."""

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import njit, prange
from numba.core.errors import TypingError
from numba.core.runtime import _nrt_python
from numba.core.runtime.nrt import rtsys

import fastxent
from fastxent import _dispatch, _njit, cpu
from tests.mixes import ALL_WITH_HESSIAN, problem, solve
from tests.processes import LIBRARIES


@njit
def loss_of(logits, targets):
    return fastxent.cross_entropy(logits, targets)


@njit
def in_place(logits, targets):
    return fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)


@njit(fastmath=True, error_model="numpy")
def row_by_row(logits, targets, losses):
    for i in range(len(targets)):
        losses[i], _ = fastxent.cross_entropy_with_grad(
            logits[i], targets[i], reduction="none", grad_out=logits[i]
        )


@njit
def with_z_loss(logits, targets, z_loss):
    return fastxent.cross_entropy_with_grad(logits, targets, z_loss=z_loss, reduction="sum")


@njit
def with_weight(logits, targets, weight):
    return fastxent.cross_entropy_with_grad(logits, targets, weight=weight)


@njit(fastmath=True)
def with_options(
    logits, targets, weight, sample_weight, smoothing, z_loss, scale, loss, lse, rank, entropy, grad, hess
):
    return fastxent.cross_entropy_with_grad(
        logits,
        targets,
        weight=weight,
        sample_weight=sample_weight,
        label_smoothing=smoothing,
        z_loss=z_loss,
        logit_scale=scale,
        reduction="none",
        loss_out=loss,
        lse_out=lse,
        rank_out=rank,
        entropy_out=entropy,
        grad_out=grad,
        hess_out=hess,
    )


def batch(n_rows, n_classes, dtype=np.float32):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, n_classes, n_rows)
    targets[2::5] = -100
    return rng.normal(0, 3, (n_rows, n_classes)).astype(dtype), targets


def solve_compiled(mix, logits, targets, options):
    """As `tests.mixes.solve` does from Python."""
    n = len(targets)
    loss, lse, entropy = (np.full(n, np.nan, logits.dtype) for _ in range(3))
    rank, grad, hess = np.full(n, -1), np.empty_like(logits), np.empty_like(logits)
    numbers = [options[name] for name in ("label_smoothing", "z_loss", "logit_scale")]
    result = with_options(
        logits,
        targets,
        options["weight"],
        options["sample_weight"],
        *numbers,
        loss,
        lse,
        rank,
        entropy,
        grad,
        hess,
    )
    assert all(out is given for out, given in zip(result, (loss, grad), strict=True))
    names = ["loss", "loss_out", "lse_out", "rank_out", "entropy_out", "grad", "hess_out"]
    return dict(zip(names, (loss, loss, lse, rank, entropy, grad, hess), strict=True))


@pytest.mark.parametrize("shape", [(33, 7), (9, 130), (40, 1000)], ids=str)
def test_loss_and_gradient_are_those_from_python(shape):
    logits, targets = batch(*shape)
    expected_loss, expected_grad = fastxent.cross_entropy_with_grad(logits, targets)
    assert loss_of(logits, targets) == fastxent.cross_entropy(logits, targets) == expected_loss
    loss, grad = in_place(logits, targets)
    assert loss == expected_loss
    assert np.shares_memory(grad, logits)
    assert np.array_equal(logits, expected_grad)


@pytest.mark.parametrize("n_classes", [7, 130])
def test_options_and_outputs_are_those_from_python(n_classes):
    logits, targets, options = problem(ALL_WITH_HESSIAN, 21, n_classes)
    expected = solve(fastxent, ALL_WITH_HESSIAN, logits, targets, options, reduction="none")
    results = solve_compiled(ALL_WITH_HESSIAN, logits, targets, options)
    assert results.keys() == expected.keys()
    for name, result in results.items():
        assert np.array_equal(result, expected[name], equal_nan=True), name


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


class Stop(Exception):
    """What a signal's handler raises here, in place of Ctrl-C's KeyboardInterrupt."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer that signals")
def test_what_a_signal_raises_during_a_compiled_loop_ends_it():
    """Python would run the handler where the loop asks it for the number of threads, and forget the rest."""

    @njit
    def losses_of(logits, targets, n):
        losses = np.empty(n)
        for i in range(n):
            losses[i] = loss_of(logits, targets)
        return losses

    def stop(*_):
        raise Stop

    logits, targets = batch(40, 1000)
    expected = losses_of(logits, targets, 1)[0]
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Stop):
            losses_of(logits, targets, 1_000_000)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert losses_of(logits, targets, 1)[0] == expected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_kernel_that_cannot_be_had_is_an_error_each_time(monkeypatch):
    """ctypes prints what a callback raises, and leaves what it returns as it was."""

    @njit
    def run(logits, targets):
        return fastxent.cross_entropy(logits, targets, z_loss=0.1)  # the address of no other test's kernel

    logits, targets = batch(9, 7)
    with monkeypatch.context() as patch:
        patch.setattr(cpu.Kernel, "address", lambda *_: 1 / 0)
        for _ in range(5):
            with pytest.raises(RuntimeError, match="asked of Python failed"):
                run(logits, targets)
    assert run(logits, targets) == fastxent.cross_entropy(logits, targets, z_loss=0.1)


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


@pytest.mark.parametrize("layer", ["omp", pytest.param("tbb", marks=pytest.mark.exhaustive), "workqueue"])
def test_rows_and_batches_in_a_parallel_loop_are_those_from_python(layer, run_with_user):
    """With workqueue the process aborts if a batch, in the loop, tries to start threads of its own."""
    run = run_with_user(SCRIPT, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    if "No threading layer could be loaded" in run.stderr:
        pytest.skip(f"Numba finds no {layer} here")
    assert run.returncode == 0, run.stderr


def test_a_function_is_loaded_from_the_cache_but_not_with_another_version(run_with_user):
    run_with_user(SCRIPT)
    for arguments, hits in (((), "1"), (("another",), "0")):
        run = run_with_user(SCRIPT, *arguments)
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == hits


WRONG = {
    "targets[1] is 7, expected a class from 0 to 6 or ignore_index (-100)": (IndexError, {"targets": 7}),
    "label_smoothing must be from 0 to 1, got 1.5": (ValueError, {"label_smoothing": 1.5}),
    "z_loss must be finite and at least 0, got nan": (ValueError, {"z_loss": np.nan}),
    "logit_scale must be positive and finite, got 0.0": (ValueError, {"logit_scale": 0.0}),
    "weight must be finite and at least 0, got -1.0 at flat index 3": (ValueError, {"weight": -1}),
    "weight must have shape (7,), got (8,)": (ValueError, {"weight": np.ones(8)}),
    "sample_weight must have shape (9,), got (8,)": (ValueError, {"sample_weight": np.ones(8)}),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_bad_value_is_named_before_anything_is_written(message):
    error, wrong = WRONG[message]
    logits, targets, options = problem(ALL_WITH_HESSIAN, 9, 7, masks=False)
    for name, value in wrong.items():
        if name == "targets":
            targets[1] = value
        elif name == "weight" and np.isscalar(value):
            options["weight"][3] = value
        else:
            options[name] = value
    outs = [np.full(9, 5.0) for _ in range(3)]
    outs.insert(2, np.full(9, 5))
    outs += [np.full_like(logits, 5) for _ in range(2)]
    numbers = [options[name] for name in ("label_smoothing", "z_loss", "logit_scale")]
    with pytest.raises(error) as caught:
        with_options(logits, targets, options["weight"], options["sample_weight"], *numbers, *outs)
    assert str(caught.value) == message
    assert all((out == 5).all() for out in outs)


def test_outputs_that_overlap_are_refused_but_for_the_gradient_on_the_logits():
    logits, targets, options = problem(ALL_WITH_HESSIAN, 9, 7, masks=False)
    rows = np.ones((4, 9))
    rank, hess = np.ones(9, int), np.empty_like(logits)

    def run(loss=rows[0], lse=rows[1], rank=rank, entropy=rows[2], grad=logits, hess=hess):
        arguments = options["weight"], options["sample_weight"], 0.1, 0.1, 1.0
        with_options(logits, targets, *arguments, loss, lse, rank, entropy, grad, hess)

    run()
    for name, wrong in (
        ("loss_out", {"loss": options["sample_weight"]}),
        ("lse_out", {"lse": rows[0]}),
        ("rank_out", {"rank": targets}),
        ("entropy_out", {"entropy": rows.ravel()[5:14]}),
        ("hess_out", {"hess": logits}),
        ("grad_out", {"grad": hess}),
    ):
        with pytest.raises(ValueError, match=f"{name} must not overlap"):
            run(**wrong)


def test_a_uint64_target_that_int64_cannot_hold_is_not_taken_for_minus_100():
    @njit
    def row(logits, target):
        return fastxent.cross_entropy(logits, np.uint64(target))

    logits = np.zeros(7)
    assert row(logits, np.uint64(3)) == fastxent.cross_entropy(logits, 3)
    with pytest.raises(IndexError, match="targets is 9223372036854775807"):
        row(logits, np.uint64(2**64 - 100))


NOT_COMPILED = {
    "targets must be an array with 1 axes, each element an integer,": "cross_entropy(z, z)",
    "logits must be a float32 or float64 array": "cross_entropy(y, y)",
    "axis must be -1": "cross_entropy(z, y, axis=0)",
    "weight must be an array": "cross_entropy(z, y, weight=1.0)",
    "softcap must be a real number": 'cross_entropy(z, y, softcap="1")',
    "z_loss must be given, or left out": "cross_entropy(z, y, z_loss=None)",
    'reduction must be the constant "mean", "sum" or "none"': 'cross_entropy(z, y, reduction="all")',
    "normalizer divides the mean": 'cross_entropy(z, y, reduction="sum", normalizer=2.0)',
    "grad_out must be an array of float64 with 2 axes": "cross_entropy_with_grad(z, y, grad_out=y)",
    "targets_grad_out must be left out": "cross_entropy_with_grad(z, y, targets_grad_out=z)",
    "hess_out cannot be had with softcap": "cross_entropy_with_grad(z, y, hess_out=z, softcap=1.0)",
    "too many positional arguments": "cross_entropy(z, y, -1)",
    "unexpected keyword argument 'colour'": "cross_entropy(z, y, colour=1)",
}


@pytest.mark.parametrize("message", NOT_COMPILED)
def test_what_is_not_supported_does_not_compile_and_says_why(message):
    function = njit(eval(f"lambda z, y: fastxent.{NOT_COMPILED[message]}", {"fastxent": fastxent}))
    with pytest.raises(TypingError) as caught:
        function(np.zeros((3, 4)), np.zeros(3, int))
    assert message in str(caught.value)


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
