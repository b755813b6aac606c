"""Four elements of every row, exchanged with one row a lane: the right ones, and none beside them."""

import numpy as np
import pytest

from fastxent.simd import load, load_four, pointer, row_pointer, store, store_four
from tests.simd.compiled import by_storage
from tests.simd.test_memory import STORED, lanes_in

FIRST = 3  # byte where the rows begin


@by_storage
def read_four(memory, stride, n_rows, out):
    vectors = load_four(pointer(memory), stride, n_rows)
    for i in range(4):
        store(row_pointer(out, i), 0, vectors[i])


@by_storage
def write_four(memory, stride, n_rows, values):
    vectors = (
        load(pointer(values), 0),
        load(row_pointer(values, 1), 0),
        load(row_pointer(values, 2), 0),
        load(row_pointer(values, 3), 0),
    )
    store_four(pointer(memory), stride, n_rows, vectors)


@pytest.fixture(params=STORED, ids=lambda dtype: np.dtype(dtype).name)
def dtype(request):
    return np.dtype(request.param)


def rows_in(memory, dtype, stride, first):
    return np.ndarray((lanes_in(dtype), 4), dtype, memory, first, (stride, dtype.itemsize))


@pytest.mark.parametrize("elements", [4, 5, 10, -7])
def test_four_of_every_row_come_one_row_a_lane_and_the_last_in_all_others(dtype, elements):
    stride, n_lanes = elements * dtype.itemsize + 1, lanes_in(dtype)
    raw = np.random.default_rng(0).integers(1, 60, 2 * 1024 + 16, dtype=np.uint8)
    first = FIRST + (n_lanes * -stride if stride < 0 else 0)
    rows, memory = rows_in(raw, dtype, stride, first), raw[first : first + dtype.itemsize].view(dtype)
    for n_rows in range(1, n_lanes + 1):
        out = np.zeros((4, n_lanes), dtype)
        read_four(memory, stride, n_rows, out)
        np.testing.assert_array_equal(out, rows[np.minimum(range(n_lanes), n_rows - 1)].T)


@pytest.mark.parametrize("elements", [4, 5, 10, -7])
def test_four_vectors_go_one_lane_to_each_row_and_nothing_else_changes(dtype, elements):
    stride, n_lanes = elements * dtype.itemsize + 1, lanes_in(dtype)
    raw = np.random.default_rng(0).integers(1, 60, 2 * 1024 + 16, dtype=np.uint8)
    first = FIRST + (n_lanes * -stride if stride < 0 else 0)
    values = np.arange(4 * n_lanes).astype(dtype).reshape(4, n_lanes)
    for n_rows in range(1, n_lanes + 1):
        written, expected = raw.copy(), raw.copy()
        rows_in(expected, dtype, stride, first)[:n_rows] = values.T[:n_rows]
        write_four(written[first : first + dtype.itemsize].view(dtype), stride, n_rows, values)
        np.testing.assert_array_equal(written, expected)
