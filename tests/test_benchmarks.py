"""Every benchmark runs, on little, and measures what it says."""

import functools
import importlib
import inspect
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import fastxent
from fastxent import reference

FOLDER = Path(__file__).parent.parent / "asv_benchmarks"
sys.path.append(str(FOLDER))  # as for its scripts; processes that they start inherit it

from benchmarks import limits, on_gpu, problems, rounds, starting, textbook  # noqa: E402
from comparison import accuracy, activations, arithmetic, contenders, contest, goals, options, report  # noqa: E402

from tests.tolerances import FLOAT32_GRAD_RELATIVE, FORMULA_RELATIVE  # noqa: E402

pytestmark = pytest.mark.slow

SMALL = {"shape": (32, 10), "dtype": "float32", "function": "cross_entropy_with_grad"}
SHAPE = SMALL["shape"]
MODULES = [
    importlib.import_module(f"benchmarks.{name}") for name in ("throughput", "memory", "starting", "compiled")
]
CLASSES = [
    value
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
]
BENCHMARKS = [
    (cls, name) for cls in CLASSES for name in dir(cls) if re.match(r"(time|timeraw|track|peakmem)_", name)
]


@pytest.mark.parametrize(
    ("cls", "name"), BENCHMARKS, ids=[f"{cls.__name__}.{name}" for cls, name in BENCHMARKS]
)
def test_asv_benchmark_runs(cls, name, monkeypatch):
    if cls.__name__ == "PeakMemory":
        monkeypatch.setattr(cls, "shape", SHAPE)
        monkeypatch.setattr(cls, "checked_shape", SHAPE)
    benchmark = cls()
    params = [SMALL[of] for of in getattr(cls, "param_names", ())]
    if params:
        benchmark.setup(*params)
    result = getattr(benchmark, name)(*params)
    if name.startswith("track_"):
        assert result > 0
    if name.startswith("timeraw_"):
        stmt, setup = result if isinstance(result, tuple) else (result, "")
        subprocess.run([sys.executable, "-c", f"{setup}\n{stmt}"], check=True)


@pytest.mark.parametrize("cls", CLASSES)
def test_asv_benchmark_states_the_bytes_it_moves(cls):
    assert "bytes" in cls.__doc__


def test_every_public_function_has_a_benchmark_and_only_those():
    functions = set(fastxent.__all__) - {"reference"}
    assert functions == set(problems.FUNCTIONS)
    assert functions == {cls.function for cls in CLASSES if hasattr(cls, "function")}


@pytest.mark.parametrize("name", problems.FUNCTIONS)
def test_a_problem_moves_the_bytes_of_its_arrays(name):
    problem = problems.checked_problem(name, SHAPE, "float32")
    floats = sum(array.size for array in (problem.first, *problem.others) if array.dtype == np.float32)
    n_written = problem.first.size if problem.output else 0
    n_classes = sum(array.size for array in problem.others if array.dtype == np.int64)
    assert problem.bytes_moved == 4 * (floats + n_written) + 8 * n_classes


def test_an_output_of_its_own_leaves_the_first_array_as_it_was():
    problem = problems.checked_problem("softmax", SHAPE, "float32", in_place=False)
    assert np.array_equal(problem.buffer, problem.first)
    assert np.array_equal(problem.output["out"], fastxent.softmax(problem.first))


def test_a_wrong_result_is_not_timed(monkeypatch):
    monkeypatch.setattr(fastxent, "softmax", lambda logits, out: np.multiply(logits, 1.001, out=out))
    with pytest.raises(AssertionError, match="off by"):
        problems.Problem("softmax", SHAPE).check()


def test_nan_is_a_wrong_result():
    with pytest.raises(AssertionError, match="off by nan"):
        problems.check_same(np.array([np.nan, 1.0]), np.array([0.0, 1.0]), FLOAT32_GRAD_RELATIVE)


def test_asv_skips_what_an_older_release_lacks(monkeypatch):
    monkeypatch.delattr(fastxent, "entropy")
    problems.checked_problem.cache_clear()
    with pytest.raises(NotImplementedError, match="no entropy"):
        problems.checked_problem("entropy", SHAPE, "float32")
    with pytest.raises(NotImplementedError, match="no half types"):
        problems.checked_problem("softmax", SHAPE, "float16")
    monkeypatch.setattr(fastxent, "softmax", lambda logits, out=None: None)
    with pytest.raises(NotImplementedError, match="no axis of softmax"):
        problems.checked_problem("softmax", SHAPE, "float32", 0)


@pytest.mark.parametrize("n", [8, 2**16])
def test_memory_limits_touch_every_element(n):
    array = np.arange(n, dtype=np.float32)
    assert limits.read(array) == int(np.sum(array.view(np.int64)))
    out = np.empty_like(array)
    limits.copy(array, out)
    np.testing.assert_array_equal(out, array)
    limits.multiply(array)
    np.testing.assert_array_equal(array, -out)


def test_the_quickest_call_counts_and_preparation_does_not(monkeypatch):
    now, durations = 0.0, iter([9.0, 5.0, 3.0, 4.0])

    def run():
        nonlocal now
        now += next(durations)

    def prepare():
        nonlocal now
        now += 100

    monkeypatch.setattr(rounds, "perf_counter", lambda: now)
    assert rounds.quickest({"it": rounds.Call(run, prepare)}, n_rounds=3) == {"it": 3.0}


@pytest.mark.filterwarnings("default")  # of other libraries
@pytest.mark.parametrize("name", contenders.CONTENDERS)
def test_contender_computes_what_fastxent_does(name, monkeypatch):
    if not contenders.CONTENDERS[name].is_installed():
        pytest.skip(f"{name} is not installed")
    if name == "torch.compile":
        import torch

        # What it is given, not the compiler of C++, which takes longer than all other contenders.
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    for case in contest.TINY_CASES:
        ours, theirs = contest.contest(name, case, n_rounds=1)
        assert ours > 0
        assert theirs > 0


@pytest.mark.parametrize(("shape", "axis"), [((7, 5), -1), ((3, 4, 5), 1), ((2, 3, 4, 5), 2), ((3, 4), 0)])
def test_the_textbooks_functions_compute_what_the_specification_says(shape, axis):
    problem = problems.Problem("cross_entropy_with_grad", shape, "float64", axis)
    expected = reference.cross_entropy_with_grad(problem.first, *problem.others, axis=axis)
    problems.check_same(problem.naive(), expected, FORMULA_RELATIVE)
    problems.check_same(
        textbook.cross_entropy(problem.first, *problem.others, axis), expected[0], FORMULA_RELATIVE
    )


def test_a_contender_that_computes_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(textbook, "cross_entropy_with_grad", lambda z, y, **_: (0.0, z))
    with pytest.raises(AssertionError, match="off by"):
        contest.contest("naive NumPy", contest.TINY_CASES[0], n_rounds=1)


def test_a_new_process_has_its_own_environment():
    with contest.new_process(FASTXENT_TEST="there") as run:
        assert "FASTXENT_TEST" not in os.environ
        assert run(os.getenv, "FASTXENT_TEST") == "there"
        assert run(os.getpid) != os.getpid()
    assert "FASTXENT_TEST" not in os.environ


@pytest.mark.parametrize(
    "measure",
    [
        lambda: goals.loss_only(SHAPE, 1),
        lambda: goals.separate(SHAPE, 1),
        lambda: goals.float64(SHAPE, 1),
        lambda: goals.bfloat16(SHAPE, 1),
        lambda: goals.far_apart(SHAPE, 15, 1),
        lambda: goals.one_row("softmax", 100, 1),
        lambda: goals.one_row("softmax", 100, 1, in_place=False),
        lambda: goals.flat("up", [(2, 100), (4, 100), (20_000, 100)], 1),
        lambda: goals.avx2([SHAPE], 1, OMP_WAIT_POLICY="passive")[0],
    ],
)
def test_goal_is_measured(measure):
    goal = measure()
    assert 0 < goal.measured < np.inf


def test_first_call_is_timed_in_a_new_process_without_and_with_its_cache(monkeypatch):
    cache = os.environ.get("NUMBA_CACHE_DIR", "")
    first_call_seconds = goals._first_call_seconds
    assert 0 < first_call_seconds(starting.PREPARE.format(shape=(4, 10)), cache) < 60
    seen = []
    monkeypatch.setattr(goals, "_first_call_seconds", lambda _, cache: seen.append(cache) or len(seen))
    assert [goal.measured for goal in goals.first_call((4, 10), 2)] == [1, 3]
    assert len(set(seen)) == 2
    assert seen[:2] == seen[2:]


def test_the_arithmetic_limit_does_the_operations_that_it_counts():
    """Half of them are steps of y·½ + ½, and come nearer to 1 by half each; the others stay at ½."""
    one, all_threads = arithmetic.start(64), arithmetic.start(2**16)
    arithmetic.compute(one, one.shape[-1])
    assert (one[:, 1] == 1.5 - 2.0 ** -(1 + arithmetic.OPERATIONS // 2)).all()
    assert len(all_threads) == numba.get_num_threads()
    arithmetic.compute(all_threads, 2**16)
    assert (all_threads[:, 1] == 1.5).all()


def test_steps_are_the_goals_that_need_a_process_each():
    assert len(goals.steps(goals.TINY)) == 11


def test_goals_beside_contenders_take_the_fastest_and_the_right_direction():
    case, images = contest.Case((128, 10)), contest.IMAGES
    seconds = {
        contenders.MEMORY: {case: (3e-6, 1e-6), images: (1.0, 0.9), contest.Case((512, 50257)): (1.0, 0.87)},
        "PyTorch eager": {case: (3e-6, 30e-6), images: (1.0, 7.0)},
        "JAX jit + optax": {case: (3e-6, 5e-6), images: (1.0, 2.0)},
    }
    found = {goal.what: goal for goal in goals.beside_contenders(seconds)}
    assert {what: goal.is_met() for what, goal in found.items()} == {
        "128×10 in place, the public call": True,
        "128×10 in place, beside JAX jit + optax": False,
        "(32, 81, 8732), axis=1, beside PyTorch eager": True,
        "512×50257 in place": False,
    }
    assert "| **no** |" in str(found["512×50257 in place"])


@pytest.mark.parametrize("library", activations.LIBRARIES)
@pytest.mark.parametrize("case", activations.TINY_CASES, ids=str)
def test_activations_are_timed_once_they_agree(library, case, monkeypatch):
    if not activations.LIBRARIES[library].is_installed():
        pytest.skip(f"{library} is not installed")
    seconds = {library: {case: activations.contest(library, case, 1)}}
    assert report.contest_table(seconds, "what").splitlines()[2].startswith(f"| {case} | ")
    monkeypatch.setattr(
        fastxent, case.name, lambda z, out=None, axis=-1: 1.001 * getattr(reference, case.name)(z, axis=axis)
    )
    with pytest.raises(AssertionError, match="off by"):
        activations.contest(library, case, 1)


def test_options_are_timed():
    seconds = options.times_of_options(SHAPE, 1, ["none", "soft targets"])
    table = report.cost_table("4×100", seconds)
    assert table.splitlines()[2].endswith("| 1.00 |")
    assert set(options.times_of_dtypes(SHAPE, 1)) == {"float32", "float16", "bfloat16"}


def test_every_option_that_there_is_is_timed():
    timed = set().union(*options.options(SHAPE).values()) - {"targets"}
    take_no_time = {"reduction", "normalizer", "ignore_index", "loss_out", "lse_out", "grad_out", "axis"}
    parameters = list(inspect.signature(fastxent.cross_entropy_with_grad).parameters)[2:]
    assert timed == set(parameters) - take_no_time
    problem = problems.Problem("cross_entropy_with_grad", SHAPE)
    for given in options.options(SHAPE).values():
        loss, _ = reference.cross_entropy_with_grad(problem.first, **{"targets": problem.others[0]} | given)
        assert np.isfinite(loss)


def test_losses_for_torch_are_timed_once_they_agree(monkeypatch):
    pytest.importorskip("torch", reason="of the extra 'torch'")
    from comparison import torch_losses

    case, step = torch_losses.TINY_CASES[1], torch_losses.TINY_STEPS[0]
    seconds = {str(case): torch_losses.contest(case, 1), str(step): torch_losses.alternating(step, 1)}
    peaks = {name: torch_losses.peak_memory(case, name) for name in torch_losses.LOSSES}
    table = report.torch_table(seconds, "memory", peaks).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {what}" for what in (case, step, "memory")]
    monkeypatch.setitem(torch_losses.LOSSES, torch_losses.OURS, lambda logits, targets: (2 * logits).sum())
    for measure, what in ((torch_losses.contest, case), (torch_losses.alternating, step)):
        with pytest.raises(AssertionError, match="off by"):
            measure(what, 1)


def test_report_keeps_losing_cells_and_draws_them(tmp_path):
    pytest.importorskip("matplotlib", reason="of the extra 'bench'")
    cases = contest.TINY_CASES
    seconds = {
        contenders.MEMORY: dict.fromkeys(cases, (1e-3, 0.5e-3)),
        contenders.ARITHMETIC: dict.fromkeys(cases, (2e-3, 1.5e-3)),
        "SciPy": dict.fromkeys(cases, (1e-3, 0.25e-3)),
    }
    assert report.contest_table(seconds).splitlines()[2] == "| 16×10 | 1 | 0.50 | 0.75 | 0.25× |"
    report.picture(seconds, tmp_path / "roofline.svg")
    assert "SciPy" in (tmp_path / "roofline.svg").read_text(encoding="utf-8")


def test_tables_go_between_their_markers_and_nowhere_else():
    text = "a\n<!-- t -->\nold\n<!-- /t -->\nb"
    assert report.between_markers(text, "t", "new") == "a\n<!-- t -->\n\nnew\n\n<!-- /t -->\nb"
    with pytest.raises(ValueError, match="0 sections"):
        report.between_markers(text, "u", "new")
    readme = report.README.read_text(encoding="utf-8")
    for name in ("accuracy", "activations", "contest", "costs", "torch", "without AVX-512"):
        report.between_markers(readme, name, "")


def test_reports_are_in_utf_8_on_systems_with_another_encoding(tmp_path, monkeypatch):
    printed, readme = io.BytesIO(), tmp_path / "README.md"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="cp1252"))
    report.show("≤ 1")
    sys.stdout.flush()
    assert printed.getvalue().decode() == f"≤ 1{os.linesep}"
    readme.write_bytes("≤\n<!-- t -->\n<!-- /t -->\n".encode())
    monkeypatch.setattr(report, "README", readme)
    report.into_readme({"t": "≥"})
    assert readme.read_bytes() == "≤\n<!-- t -->\n\n≥\n\n<!-- /t -->\n".encode()


def test_what_was_measured_is_named_with_its_version():
    assert fastxent.__version__ in report.circumstances(report.modules_of([contenders.MEMORY]))


def test_errors_are_counted_in_units_in_the_last_place_of_float32():
    true = np.array([1.0, 1.5, -4.0, 2.0**-80], np.longdouble)
    found = accuracy.errors(np.array([1 + 2**-22, 1.5, -4.0 + 2**-21, 0.0], np.float32), true)
    assert found == accuracy.Errors(2.0, 3.0, 3)
    assert str(found + accuracy.Errors(5.0, 6.0, 3)) == "5 / 1.5"


@pytest.mark.parametrize("spread", [0.1, 30.0])
def test_errors_of_fastxent_are_those_of_rounding_and_of_naive_numpy_more(spread):
    ours, naive = (accuracy.errors_of(name, 10, spread, 2000) for name in ("fastxent", "naive NumPy"))
    for result, other in zip(ours, naive, strict=True):
        assert result.count == other.count > 100
        assert result.largest <= min(2, other.largest)


def test_the_gpu_benchmarks_say_why_they_measure_nothing(capsys):
    pytest.importorskip("tqdm", reason="of the extra 'bench'")
    import compare_cuda

    if not on_gpu.why_not():
        pytest.skip("there is a GPU")
    compare_cuda.main(["--quick"])
    assert capsys.readouterr().out.startswith("Nothing is measured: ")
    with pytest.raises(NotImplementedError, match=on_gpu.why_not()):
        on_gpu.CrossEntropyWithGradOnGPU().setup(SHAPE, "float32")


def test_the_gpu_table_shows_shares_of_the_copys_bandwidth():
    times = {"fastxent": 2e-3, "copy": 1.8e-3, "PyTorch": 6e-3}
    table = report.cuda_table({((8, 100), "float32"): times})
    assert table.splitlines()[-1] == "| 8×100 float32 | 2 | 0.90 | 0.30 |"
