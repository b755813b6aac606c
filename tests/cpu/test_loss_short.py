"""Short rows, of which one set is summed while another is finished and replaced: each is as it was alone."""

import numpy as np
import pytest

import fastxent
from fastxent import _dispatch, cpu
from tests.cpu.test_tile_blocks import awkward_rows
from tests.layouts import spaced
from tests.measure import assert_same_bits
from tests.mixes import MIXES, problem, solve

pytestmark = pytest.mark.slow

SET = 16  # rows of up to 192 classes of float32
# Whole wide vectors, one class more or less, and classes of which fewer and fewer rows make a set.
N_CLASSES = (cpu.FEW_CLASSES + 1, 65, 80, 97, 128, 129, 130, 192, 193, 320, 512, 800, 1024)
exhaustive = pytest.mark.exhaustive


@pytest.fixture
def row_by_row(monkeypatch):
    """A function that gives what another does, with rows of any length taken one by one."""

    def call(function, *arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(_dispatch, "_is_short", lambda *_: False)
            return function(*arguments, **options)

    return call


@pytest.mark.parametrize(
    "name",
    [
        "all with Hessian",
        "all soft",
        *(
            pytest.param(name, marks=exhaustive)
            for name in MIXES
            if name not in ("all with Hessian", "all soft")
        ),
    ],
)
@pytest.mark.parametrize(
    "dtype",
    [np.float32, pytest.param(np.float64, marks=exhaustive), pytest.param(np.float16, marks=exhaustive)],
)
def test_results_of_any_option_are_those_of_rows_one_by_one(name, dtype, row_by_row):
    mix = MIXES[name]
    for n_classes in N_CLASSES:
        logits, targets, options = problem(mix, SET + 5, n_classes, dtype)
        expected = row_by_row(solve, fastxent, mix, logits, targets, options)
        for output, result in solve(fastxent, mix, logits, targets, options).items():
            assert_same_bits(result, expected[output])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, pytest.param(np.float16, marks=exhaustive)])
def test_awkward_rows_give_the_bits_of_rows_one_by_one_in_place_or_not(dtype, row_by_row):
    for n_classes in N_CLASSES:
        logits, targets, _ = awkward_rows(n_classes, np.float32)
        with np.errstate(over="ignore"):
            logits = logits.astype(dtype)
        expected = row_by_row(fastxent.cross_entropy_with_grad, logits, targets, reduction="none")
        in_place = logits.copy()
        for results in (
            fastxent.cross_entropy_with_grad(logits, targets, reduction="none"),
            fastxent.cross_entropy_with_grad(in_place, targets, reduction="none", grad_out=in_place),
            (fastxent.cross_entropy(logits, targets, reduction="none"),),
        ):
            for result, one_by_one in zip(results, expected, strict=False):
                assert_same_bits(result, one_by_one)


@pytest.mark.parametrize("function", [fastxent.softmax, fastxent.log_softmax, fastxent.logsumexp])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, pytest.param(np.float16, marks=exhaustive)])
def test_activations_have_the_bits_of_rows_one_by_one(function, dtype, row_by_row, monkeypatch):
    for n_classes in N_CLASSES:
        logits = awkward_rows(n_classes, np.float32)[0]
        with np.errstate(over="ignore"):
            logits = logits.astype(dtype)
        assert_same_bits(function(logits), row_by_row(function, logits))
    monkeypatch.setattr(_dispatch, "PARALLEL_FROM", 2**30)  # which would be compiled for this alone
    many = np.random.default_rng(0).normal(size=(200, 1024)).astype(dtype)  # several times what stays near
    assert_same_bits(function(many), row_by_row(function, many))


@pytest.mark.parametrize("n_classes", [100, 200, 1024])
def test_any_number_of_rows_fills_sets_or_does_not(n_classes):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3 * SET + 1, n_classes)).astype(np.float32)
    targets = rng.integers(0, n_classes, len(logits))
    losses, grads = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    for n_rows in range(len(logits)):
        loss, grad = fastxent.cross_entropy_with_grad(logits[:n_rows], targets[:n_rows], reduction="none")
        assert_same_bits(loss, losses[:n_rows])
        assert_same_bits(grad, grads[:n_rows])


@pytest.mark.parametrize("n_classes", [100, 300])
def test_rows_left_out_are_neither_read_nor_in_the_way(n_classes):
    """One, every other, whole sets, all but one: their logits are NaN and their gradient 0."""
    rng = np.random.default_rng(0)
    numbers, n_rows = np.arange(4 * SET + 3), 4 * SET + 3
    logits = rng.normal(size=(n_rows, n_classes)).astype(np.float32)
    targets = rng.integers(0, n_classes, n_rows)
    losses, grads = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    for left_out in (
        numbers == 0,
        numbers % 2 == 0,
        numbers // SET == 1,
        numbers // SET % 2 == 0,
        numbers != n_rows - 1,
        numbers >= 0,
    ):
        z, y = logits.copy(), np.where(left_out, -100, targets)
        z[left_out] = np.nan
        loss, grad = fastxent.cross_entropy_with_grad(z, y, reduction="none", grad_out=z)
        assert_same_bits(loss, np.where(left_out, 0, losses))
        assert_same_bits(grad, np.where(left_out[:, None], 0, grads))


@pytest.mark.parametrize(
    ("n_classes", "layout", "is_short"),
    [
        (cpu.FEW_CLASSES, np.copy, False),
        (cpu.FEW_CLASSES + 1, np.copy, True),
        (cpu.SHORT_ROW, np.copy, True),
        (cpu.SHORT_ROW + 1, np.copy, False),
        (200, spaced, False),
    ],
)
def test_rows_are_short_up_to_a_length_if_their_classes_lie_side_by_side(
    n_classes, layout, is_short, monkeypatch
):
    calls = []
    monkeypatch.setattr(cpu.Kernel, "__call__", lambda self, *_: calls.append(self) or (0.0, -1))
    for kernel in (cpu.cross_entropy_lanes, cpu.cross_entropy_short, cpu.cross_entropy_rows):
        monkeypatch.setattr(kernel, "entries", {})
    logits, targets = np.zeros((3, n_classes), np.float32), np.zeros(3, np.int64)
    soft = logits.copy()
    fastxent.cross_entropy(layout(logits), targets)
    fastxent.cross_entropy_with_grad(logits, targets, z_loss=0.1, grad_out=layout(logits))
    fastxent.cross_entropy_with_grad(logits, targets, hess_out=layout(logits))
    fastxent.cross_entropy(logits, layout(soft))
    fastxent.cross_entropy_with_grad(logits, soft, targets_grad_out=layout(logits))
    assert [kernel is cpu.cross_entropy_short for kernel in calls] == 5 * [is_short]


@pytest.mark.parametrize(("n_classes", "large_is_short"), [(800, True), (801, False)])
def test_longer_rows_are_not_short_if_derivatives_go_past_the_caches(n_classes, large_is_short, monkeypatch):
    calls = []
    monkeypatch.setattr(cpu.Kernel, "__call__", lambda self, *_: calls.append(self) or (0.0, -1))
    n_of_large = -(-_dispatch.TOO_LARGE_FOR_SHORT_ROWS // (4 * n_classes))
    for n_rows in (n_of_large - 1, n_of_large):
        logits, targets = np.zeros((n_rows, n_classes), np.float32), np.zeros(n_rows, np.int64)
        elsewhere, soft = np.empty_like(logits), logits.copy()
        fastxent.cross_entropy(logits, targets, z_loss=0.1)
        fastxent.cross_entropy_with_grad(logits, targets, z_loss=0.1, grad_out=logits)
        fastxent.softmax(logits, out=logits)
        fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits, hess_out=elsewhere)
        fastxent.cross_entropy_with_grad(logits, soft, grad_out=logits, targets_grad_out=elsewhere)
        fastxent.cross_entropy_with_grad(logits, targets, z_loss=0.1)
        fastxent.softmax(logits, out=elsewhere)
    ways = [kernel in (cpu.cross_entropy_short, cpu.softmax_short) for kernel in calls]
    assert ways == [True] * 10 + [large_is_short] * 4


@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
@pytest.mark.parametrize("n_classes", [200, _dispatch.SPLIT_FROM])
def test_activations_take_rows_by_elements_where_only_the_result_lies_apart(n_classes, function, monkeypatch):
    calls = []
    monkeypatch.setattr(cpu, "number_of_threads", lambda: 2)
    monkeypatch.setattr(cpu.Kernel, "__call__", lambda self, *_: calls.append(self))
    logits = np.zeros((1, n_classes), np.float32)
    getattr(fastxent, function)(logits, out=spaced(logits))
    assert calls == [cpu.softmax_rows if function == "softmax" else cpu.logsumexp_rows]
