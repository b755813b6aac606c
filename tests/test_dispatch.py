"""Threads, strides and shapes decide which code runs, never which bits come out."""

import numba
import numpy as np
import pytest

import fastxent
from fastxent import _dispatch, cpu
from tests.tolerances import REGROUPED_GRAD_EPS, REGROUPED_LOSS_EPS, eps

DTYPES = [np.float32, np.float64]


def layouts(matrix):
    """The same numbers under every kind of strides, and at an address no vector likes."""
    yield "fortran", np.asfortranarray(matrix)
    yield "every second class", np.repeat(matrix, 2, axis=1)[:, ::2]
    yield "every second row", np.repeat(matrix, 2, axis=0)[::2]
    yield "rows backwards", np.ascontiguousarray(matrix[::-1])[::-1]
    yield "classes backwards", np.ascontiguousarray(matrix[:, ::-1])[:, ::-1]
    yield "padded rows", np.pad(matrix, ((0, 0), (3, 5)))[:, 3:-5]
    raw = np.empty(matrix.nbytes + 1, np.uint8)[1:]
    unaligned = raw.view(matrix.dtype).reshape(matrix.shape)
    unaligned[...] = matrix
    yield "unaligned", unaligned


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(20, 7), (15, 138), (3, 2500)], ids=str)
def test_every_stride_pattern_equals_its_contiguous_copy_bit_for_bit(shape, dtype):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=shape).astype(dtype)
    targets = rng.integers(0, shape[1], shape[0])
    loss, grad = fastxent.cross_entropy_with_grad(matrix, targets)
    for name, logits in layouts(matrix):
        out = logits.copy(order="K")
        loss_here, grad_here = fastxent.cross_entropy_with_grad(logits, targets)
        fastxent.cross_entropy_with_grad(logits, targets, grad_out=out)
        in_place, _ = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
        assert loss_here == in_place == loss, name
        for result in (grad_here, out, logits):
            assert np.array_equal(result, grad), name
    for name, out in layouts(np.zeros_like(matrix)):
        fastxent.cross_entropy_with_grad(matrix, targets, grad_out=out)
        assert np.array_equal(out, grad), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_classes_far_apart_go_by_lanes_and_agree_to_a_few_roundings(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(21, 138)).astype(dtype)
    targets = rng.integers(0, 138, 21)
    expected, expected_grad = fastxent.cross_entropy_with_grad(matrix, targets, reduction="none")
    logits = np.asfortranarray(matrix)
    monkeypatch.setattr(_dispatch, "_CROSS_ENTROPY", _dispatch._CROSS_ENTROPY._replace(rows=None))
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none", grad_out=logits)
    assert grad is logits
    np.testing.assert_allclose(loss, expected, rtol=REGROUPED_LOSS_EPS * eps(dtype))
    np.testing.assert_allclose(grad, expected_grad, rtol=REGROUPED_GRAD_EPS * eps(dtype))


@pytest.mark.parametrize("n_classes", [7, 138])
def test_leading_axes_that_do_not_merge_give_the_same_bits(n_classes):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(4, 6, 5, n_classes))
    logits = whole[::2, 1::2, ::-1]
    targets = rng.integers(0, n_classes, whole.shape[:-1])[::2, 1::2, ::-1]
    outs = {"loss_out": np.empty(targets.shape), "lse_out": np.empty(targets.shape)}
    loss, grad = fastxent.cross_entropy_with_grad(logits.copy(), targets)
    untouched = whole.copy()
    loss_in_place, _ = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits, **outs)
    assert loss_in_place == loss
    assert np.array_equal(logits, grad)
    untouched[::2, 1::2, ::-1] = grad
    assert np.array_equal(whole, untouched)


def test_a_broadcast_batch_is_read_like_any_other():
    row = np.random.default_rng(0).normal(size=118)
    logits = np.broadcast_to(row, (3, 4, 118))
    targets = np.arange(12).reshape(3, 4)
    expected = fastxent.cross_entropy(logits.copy(), targets)
    assert fastxent.cross_entropy(logits, targets) == expected


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("shape", [(1, 5), (17, 5), (1000, 63), (1000, 64), (50, 1025), (3, 30000)], ids=str)
def test_serial_equals_parallel_bit_for_bit(run_kernels_in_parallel, shape, dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=shape).astype(dtype)
    targets = rng.integers(0, shape[1], shape[0])
    targets[1::7] = -100
    results = []
    for parallel in (False, True):
        run_kernels_in_parallel(parallel)
        lse = np.empty(shape[0], dtype)
        loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none", lse_out=lse)
        results.append((loss, lse, grad, fastxent.cross_entropy(logits, targets)))
    for serial, parallel in zip(*results, strict=True):
        assert np.array_equal(serial, parallel)


@pytest.mark.parametrize("n_classes", [10, 1000, 1100])
def test_a_row_does_not_depend_on_its_place_in_the_batch(n_classes):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, n_classes)).astype(np.float32)
    targets = rng.integers(0, n_classes, 200)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    for i in (0, 1, 15, 16, 150, 199):
        row_loss, row_grad = fastxent.cross_entropy_with_grad(logits[i], targets[i], reduction="none")
        assert row_loss == loss[i]
        assert np.array_equal(row_grad, grad[i])


def test_the_number_of_threads_changes_no_bit():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 1100)).astype(np.float32)
    targets = rng.integers(0, 1100, 300)
    assert logits.size >= _dispatch.PARALLEL_FROM
    results = []
    threads = numba.get_num_threads()
    try:
        for n_threads in range(1, threads + 1):
            numba.set_num_threads(n_threads)
            results.append(fastxent.cross_entropy_with_grad(logits, targets))
    finally:
        numba.set_num_threads(threads)
    if threads == 1:
        pytest.skip("there is one thread")
    for loss, grad in results[1:]:
        assert loss == results[0][0]
        assert np.array_equal(grad, results[0][1])


@pytest.mark.parametrize("n_classes", [1, 7, 16, 63, 64, 127, 1030])
def test_nothing_outside_the_row_is_written(n_classes):
    """Guards stand around every row; those of the logits are NaN, so reading one would show as well."""
    rng = np.random.default_rng(0)
    guarded = np.full((19, n_classes + 20), np.nan, np.float32)
    logits = guarded[1:-1, 10:-10]
    logits[...] = rng.normal(size=logits.shape)
    targets = rng.integers(0, n_classes, 17)
    loss, _ = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    assert np.isfinite(loss)
    assert np.isfinite(logits).all()
    logits[...] = np.nan
    assert np.isnan(guarded).all()


@pytest.mark.parametrize("n_classes", [7, 138])
def test_batches_of_any_number_of_axes_may_follow_each_other(n_classes):
    """Integer targets, losses and log-sum-exps have the axes of the batch, which kernels must not see."""
    rng = np.random.default_rng(0)
    flat, y = rng.normal(size=(24, n_classes)), rng.integers(0, n_classes, 24)
    expected = fastxent.cross_entropy(flat, y, reduction="none")
    for shape in ((24,), (4, 6), (2, 3, 4), (24, 1), (2, 12), (1, 24), (2, 2, 2, 3)):
        logits, targets = flat.reshape(*shape, n_classes), y.reshape(shape)
        lse = np.empty(shape)
        loss = fastxent.cross_entropy(logits, targets, reduction="none", lse_out=lse)
        assert loss.shape == shape
        assert np.array_equal(loss.ravel(), expected)
        assert lse.all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [3, 63, 64])
def test_the_short_way_of_plain_arrays_gives_what_the_checked_one_gives(n_classes, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(33, n_classes)).astype(dtype)
    targets = rng.integers(0, n_classes, 33)
    targets[4] = -100
    in_place = logits.copy()
    short = [
        fastxent.cross_entropy(logits, targets),
        *fastxent.cross_entropy_with_grad(logits, targets),
        *fastxent.cross_entropy_with_grad(in_place, targets, grad_out=in_place),
    ]
    monkeypatch.setattr(_dispatch, "plain_cross_entropy", None)
    unusual = np.int64(-100)  # no plain int, so the long way
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, ignore_index=unusual)
    for result, expected in zip(short, [loss, loss, grad, loss, grad], strict=True):
        assert np.array_equal(result, expected)
    assert short[-1] is in_place


@pytest.mark.parametrize(("most", "kernel"), [(900, "columns"), (899, "rows")])
def test_rows_of_more_classes_than_lanes_tell_apart_are_not_taken_one_a_lane(most, kernel, monkeypatch):
    calls = []
    monkeypatch.setattr(_dispatch, "_MOST_CLASSES_IN_LANES", most)
    monkeypatch.setattr(cpu.Kernel, "__call__", lambda self, *_: calls.append(self) or (0.0, -1))
    fastxent.cross_entropy(np.zeros((900, 16), np.float32).T, np.zeros(16, np.int64))
    assert calls == [getattr(cpu, f"cross_entropy_{kernel}")]
