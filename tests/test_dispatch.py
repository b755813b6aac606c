"""Threads, strides and shapes decide which code runs, never which bits come out."""

import numba
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastxent
from fastxent import _dispatch, cpu

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
@pytest.mark.parametrize("shape", [(20, 7), (21, 90), (3, 2500)], ids=str)
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


@pytest.mark.parametrize("n_classes", [7, 90])
def test_leading_axes_that_do_not_merge_give_the_same_bits(n_classes):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(4, 6, 5, n_classes))
    logits = whole[::2, 1::2, ::-1]
    targets = rng.integers(0, n_classes, whole.shape[:-1])[::2, 1::2, ::-1]
    loss, grad = fastxent.cross_entropy_with_grad(logits.copy(), targets)
    untouched = whole.copy()
    loss_in_place, _ = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    assert loss_in_place == loss
    assert np.array_equal(logits, grad)
    untouched[::2, 1::2, ::-1] = grad
    assert np.array_equal(whole, untouched)


def test_a_broadcast_batch_is_read_like_any_other():
    row = np.random.default_rng(0).normal(size=70)
    logits = np.broadcast_to(row, (3, 4, 70))
    targets = np.arange(12).reshape(3, 4)
    expected = fastxent.cross_entropy(logits.copy(), targets)
    assert fastxent.cross_entropy(logits, targets) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 5), (17, 5), (1000, 64), (1000, 65), (50, 1025), (3, 30000)], ids=str)
def test_serial_equals_parallel_bit_for_bit(shape, dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=shape).astype(dtype)
    targets = rng.integers(0, shape[1], shape[0])
    targets[::7] = -100
    kernel = cpu.cross_entropy_lanes if shape[1] <= cpu.MAX_CLASSES else cpu.cross_entropy_rows
    results = []
    for parallel in (False, True):
        loss, lse, grad = np.empty(shape[0]), np.empty(shape[0]), np.empty_like(logits)
        kernel(parallel, logits, targets, -100, 0.25, loss, lse, grad)
        results.append((loss, lse, grad))
    for serial, parallel in zip(*results, strict=True):
        assert np.array_equal(serial, parallel)


@pytest.mark.parametrize("n_classes", [10, 1000])
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
    logits = rng.normal(size=(300, 700)).astype(np.float32)
    targets = rng.integers(0, 700, 300)
    assert logits.size >= _dispatch.PARALLEL_FROM
    results = []
    threads = numba.get_num_threads()
    try:
        for n_threads in {1, threads}:
            numba.set_num_threads(n_threads)
            results.append(fastxent.cross_entropy_with_grad(logits, targets))
    finally:
        numba.set_num_threads(threads)
    for loss, grad in results[1:]:
        assert loss == results[0][0]
        assert np.array_equal(grad, results[0][1])


@pytest.mark.parametrize("n_classes", [1, 7, 16, 64, 65, 79, 1030])
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


def test_merging_is_refused_for_axes_that_are_not_one_run():
    array = np.zeros((4, 7, 5))
    assert _dispatch._merges(array)
    assert _dispatch._merges(array[:, :1])
    assert _dispatch._merges(array[..., ::2])
    assert not _dispatch._merges(array[:, ::2])
    assert not _dispatch._merges(as_strided(array, (4, 7, 5), (8, 8, 8)))
