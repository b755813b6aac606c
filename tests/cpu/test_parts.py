"""Rows whose classes threads share out: the bits are those that one thread gives."""

import numpy as np
import pytest

import fastxent
from fastxent import _dispatch, cpu
from tests.cpu.test_tile_blocks import awkward_rows
from tests.layouts import spaced
from tests.measure import assert_same_bits
from tests.mixes import MIXES, problem, solve

pytestmark = pytest.mark.slow

BLOCK = 2048  # of float32
N_CLASSES = (1100, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 3 * BLOCK + 5, 10 * BLOCK)


@pytest.fixture
def share_out(monkeypatch):
    """A function that has so many threads share out every row; one takes whole rows."""
    monkeypatch.setattr(_dispatch, "PARALLEL_FROM", 0)

    def use(n_threads):
        monkeypatch.setattr(_dispatch, "_n_threads_for", lambda logits: n_threads)
        monkeypatch.setattr(_dispatch, "_is_split", lambda n_threads, *arrays: n_threads > 1)

    return use


@pytest.mark.parametrize("n_classes", N_CLASSES)
@pytest.mark.parametrize("name", ["all with Hessian", pytest.param("all soft", marks=pytest.mark.exhaustive)])
def test_no_result_of_any_option_depends_on_the_parts_of_a_row(name, n_classes, share_out):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 6, n_classes, np.float32)
    share_out(1)
    expected = solve(fastxent, mix, logits, targets, options)
    for n_threads in (2, 3, 7):
        share_out(n_threads)
        for output, result in solve(fastxent, mix, logits, targets, options).items():
            assert_same_bits(result, expected[output])


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float16, marks=pytest.mark.exhaustive)])
def test_no_bit_of_awkward_rows_depends_on_their_parts_in_place_or_not(dtype, share_out):
    for n_classes in N_CLASSES:
        logits, targets, _ = awkward_rows(n_classes, np.float32)
        with np.errstate(over="ignore"):
            logits = logits.astype(dtype)
        results = []
        for n_threads in (1, 2, 5):
            share_out(n_threads)
            loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
            in_place = logits.copy()
            fastxent.cross_entropy_with_grad(in_place, targets, grad_out=in_place, reduction="none")
            results.append((loss, grad, in_place, fastxent.cross_entropy(logits, targets, reduction="none")))
        for shared_out in results[1:]:
            for result, expected in zip(shared_out, results[0], strict=True):
                assert_same_bits(result, expected)


@pytest.mark.parametrize("function", [fastxent.softmax, fastxent.log_softmax, fastxent.logsumexp])
def test_no_bit_of_an_activation_depends_on_the_parts_of_a_row(function, share_out):
    for n_classes in N_CLASSES:
        logits, _, _ = awkward_rows(n_classes, np.float32)
        share_out(1)
        expected = function(logits)
        for n_threads in (2, 5):
            share_out(n_threads)
            assert_same_bits(function(logits), expected)
            if expected.shape == logits.shape:
                in_place = logits.copy()
                assert_same_bits(function(in_place, out=in_place), expected)


def test_a_gradient_stored_past_the_caches_does_not_depend_on_the_parts_of_a_row(share_out):
    logits = np.random.default_rng(0).normal(size=(1, 1_100_003)).astype(np.float32)
    results = []
    for n_threads in (1, 3):
        share_out(n_threads)
        out = np.full_like(logits, np.nan)
        results.append(fastxent.cross_entropy_with_grad(logits, [7], grad_out=out, reduction="none"))
    for shared_out, expected in zip(*results, strict=True):
        assert_same_bits(shared_out, expected)


def test_threads_write_nothing_outside_the_row_that_they_share_out(share_out):
    rng = np.random.default_rng(0)
    for n_classes in N_CLASSES:
        guarded = np.full((4, n_classes + 20), np.nan, np.float32)
        logits = guarded[1:-1, 10:-10]
        logits[...] = rng.normal(size=logits.shape)
        share_out(3)
        fastxent.cross_entropy_with_grad(logits, [3, 4], grad_out=logits, reduction="none")
        assert np.isfinite(logits).all()
        logits[...] = np.nan
        assert np.isnan(guarded).all()


@pytest.mark.parametrize(
    ("shape", "layout", "n_threads", "is_shared_out"),
    [
        ((1, _dispatch.SPLIT_FROM), np.copy, 2, True),
        ((3, _dispatch.SPLIT_FROM), np.copy, 4, True),
        ((2, _dispatch.SPLIT_FROM), np.copy, 2, False),
        ((1, _dispatch.SPLIT_FROM), np.copy, 1, False),
        ((1, _dispatch.SPLIT_FROM - 1), np.copy, 2, False),
        ((1, _dispatch.SPLIT_FROM), spaced, 2, False),
    ],
)
def test_rows_are_shared_out_where_there_are_fewer_than_threads(
    shape, layout, n_threads, is_shared_out, monkeypatch
):
    logits, targets = layout(np.zeros(shape, np.float32)), np.zeros(shape[0], np.int64)
    monkeypatch.setattr(cpu, "number_of_threads", lambda: n_threads)
    calls = []
    monkeypatch.setattr(cpu.Kernel, "__call__", lambda self, *_: calls.append(self) or (0.0, -1))
    for kernel in (cpu.cross_entropy_rows, cpu.cross_entropy_split):
        monkeypatch.setattr(kernel, "entries", {})
    fastxent.cross_entropy(logits, targets)
    fastxent.cross_entropy_with_grad(logits, targets, z_loss=0.1, grad_out=logits)
    assert calls == 2 * [cpu.cross_entropy_split if is_shared_out else cpu.cross_entropy_rows]


@pytest.mark.parametrize("name", ["soft targets", "grad_out", "hess_out", "targets_grad_out"])
def test_rows_are_not_shared_out_where_one_array_lies_apart(name, monkeypatch):
    logits = np.zeros((1, _dispatch.SPLIT_FROM), np.float32)
    targets, apart = np.zeros(1, np.int64), spaced(logits)
    if "targets" in name:
        targets = apart if name == "soft targets" else logits.copy()
    outs = {name: apart} if name.endswith("_out") else {}
    calls = []
    monkeypatch.setattr(cpu, "number_of_threads", lambda: 2)
    monkeypatch.setattr(cpu.Kernel, "__call__", lambda self, *_: calls.append(self) or (0.0, -1))
    fastxent.cross_entropy_with_grad(logits, targets, **outs)
    assert calls == [cpu.cross_entropy_rows]


def test_no_bit_of_a_result_that_came_near_subnormal_depends_on_the_parts_of_a_row(share_out):
    """What is subnormal on the way is 0 with a thread as without, and not what a large weight makes of it."""
    # Under the softcap the last logits of a block are −87, and its slope there is a quarter.
    logits = np.tile(np.linspace(0, -133, BLOCK, dtype=np.float32), (1, 3))
    arguments = {"softcap": 100.0, "sample_weight": [1e6], "reduction": "sum"}
    results = []
    for n_threads in (1, 3):
        share_out(n_threads)
        results.append(fastxent.cross_entropy_with_grad(logits, [0], **arguments)[1])
    assert 0 < np.count_nonzero(results[0]) < logits.size
    assert_same_bits(*results)
