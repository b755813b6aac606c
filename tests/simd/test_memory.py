"""Memory access: the right elements, and none beside them."""

import ctypes
import mmap
import subprocess
import sys

import numpy as np
import pytest
from numba import njit, prange

from fastxent.simd import (
    broadcast,
    first_lanes,
    fma,
    gather,
    lanes_of,
    load,
    load_masked,
    only_lane,
    pointer,
    put,
    row_offsets,
    row_pointer,
    scatter,
    store,
    store_masked,
    where,
    wide,
)
from tests.simd.compiled import by_storage

try:
    from ml_dtypes import bfloat16
except ImportError:
    HALVES = [np.float16]
else:
    HALVES = [np.float16, bfloat16]

DTYPES = [np.float32, np.float64]
STORED = [*HALVES, *DTYPES]
START = 5  # where the vector under test begins, in elements; no multiple of anything


def lanes_in(dtype):
    return 64 // max(np.dtype(dtype).itemsize, 4)


@pytest.fixture(params=[*STORED, np.int64])
def memory(request):
    """Different numbers, a vector's worth and plenty on both sides."""
    return np.arange(100, 100 + 3 * lanes_in(request.param) + 2 * START).astype(request.param)


@by_storage
def read(memory, start, n, out):
    z = pointer(memory)
    rows = (
        load(z, start),
        load_masked(z, start, first_lanes(n, z), -7),
        load_masked(z, start, only_lane(n, z), load(z, 0)),
        where(first_lanes(n, z), broadcast(1, z), broadcast(0, z)),
        where(only_lane(n, z), broadcast(1, z), broadcast(0, z)),
    )
    for i in range(5):
        store(row_pointer(out, i), 0, rows[i])
    return lanes_of(z)


@by_storage
def write(memory, start, n, values):
    z = pointer(memory)
    vector = load(pointer(values), 0)
    if n < 0:
        store(z, start, vector)
    elif n < 100:
        store_masked(z, start, vector, first_lanes(n, z))
    else:
        store_masked(z, start, vector, only_lane(n - 100, z))


def test_loads_take_the_lanes_of_the_mask_and_fill_the_others(memory):
    n_lanes = lanes_in(memory.dtype)
    lane = np.arange(n_lanes)
    for n in range(-2, n_lanes + 3):
        out = np.zeros((5, n_lanes), memory.dtype)
        assert read(memory, START, n, out) == n_lanes
        there = memory[START : START + n_lanes]
        expected = [
            there,
            np.where(lane < n, there, memory.dtype.type(-7)),
            np.where(lane == n, there, memory[:n_lanes]),
        ]
        np.testing.assert_array_equal(out, [*expected, lane < n, lane == n])


def test_stores_change_the_lanes_of_the_mask_and_nothing_else(memory):
    n_lanes = lanes_in(memory.dtype)
    values = -np.arange(1, n_lanes + 1).astype(memory.dtype)
    lane = np.arange(n_lanes)
    cases = [(-1, lane >= 0), *((n, lane < n) for n in range(n_lanes + 2))]
    for n, mask in [*cases, *((100 + n, lane == n) for n in range(n_lanes + 2))]:
        written, expected = memory.copy(), memory.copy()
        write(written, START, n, values)
        expected[START : START + n_lanes][mask] = values[mask]
        np.testing.assert_array_equal(written, expected)


@by_storage
def first_of_row(array, i, out):
    store(pointer(out), 0, load(row_pointer(array, i), 0))


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize(
    "view",
    [lambda m: m, lambda m: m[::-1, 3:], lambda m: m[1::2, 1:], lambda m: m.reshape(2, 3, -1)[:, 1]],
    ids=["contiguous", "rows reversed", "every second row", "from 3-D"],
)
def test_row_pointer_is_the_address_of_a_row_whatever_the_strides(view, dtype):
    n_lanes = lanes_in(dtype)
    # Numbers that the shortest dtype has, and a period that is no number of lanes.
    array = (np.arange(6 * 8 * n_lanes) % 251).astype(dtype).reshape(6, -1)
    rows, out = view(array), np.zeros(n_lanes, dtype)
    for i in range(2):
        first_of_row(rows, i, out)
        np.testing.assert_array_equal(out, (rows[i, 0] + np.arange(n_lanes)) % 251)


@by_storage
def gathered(z, start, places, n, single, out):
    zp = pointer(z)
    mask = only_lane(n, zp) if single else first_lanes(n, zp)
    store(pointer(out), 0, gather(zp, start, row_offsets(places, 0, zp), mask, -7))


@by_storage
def scattered(z, start, places, n, single, values):
    zp = pointer(z)
    mask = only_lane(n, zp) if single else first_lanes(n, zp)
    scatter(zp, start, row_offsets(places, 0, zp), load(pointer(values), 0), mask)


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize(("elements", "odd_bytes"), [(1, 0), (3, 0), (1, 1), (-1, 0), (-2, -3), (0, 0)])
def test_gather_and_scatter_touch_one_element_at_each_offset(elements, odd_bytes, dtype):
    n_lanes, stride = lanes_in(dtype), elements * np.dtype(dtype).itemsize + odd_bytes
    raw = np.random.default_rng(3).integers(1, 60, 6 * 64, dtype=np.uint8)
    start = 3 * 64 + 9 if stride < 0 else 13
    values = np.arange(1, n_lanes + 1).astype(dtype)

    def strided(memory):
        return np.ndarray(n_lanes, dtype, memory, start, (stride,))

    places = np.ndarray((n_lanes, 1), np.uint8, raw, start, (stride, 1))

    for n in range(n_lanes + 2):
        for single in (False, True):
            mask = np.arange(n_lanes) == n if single else np.arange(n_lanes) < n
            out = np.zeros(n_lanes, dtype)
            gathered(raw.view(dtype), start, places, n, single, out)
            np.testing.assert_array_equal(out, np.where(mask, strided(raw), dtype(-7)))
            if stride:
                written, expected = raw.copy(), raw.copy()
                scattered(written.view(dtype), start, places, n, single, values)
                strided(expected)[mask] = values[mask]
                np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize("parallel", [False, True])
def test_put_stores_one_rounded_number_and_is_not_optimised_away(parallel):
    @njit(parallel=parallel)
    def put_squares(out, factor):
        for i in prange(out.shape[0]):
            put(row_pointer(out, i), 1, i * i * factor)

    out = np.full((200, 3), -1, np.float32)
    put_squares(out, 0.1)
    np.testing.assert_array_equal(out[:, 1], (np.arange(200) ** 2 * 0.1).astype(np.float32))
    assert np.all(out[:, ::2] == -1)


def before_a_forbidden_page(dtype):
    """Memory whose next byte ends the process when it is read or written."""
    page = mmap.PAGESIZE
    pages = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
    return np.frombuffer(pages, np.uint8, page).view(dtype)


def touch_only_what_is_allowed():
    for dtype in STORED:
        memory, n_lanes = before_a_forbidden_page(dtype), lanes_in(dtype)
        out = np.zeros(n_lanes, dtype)
        places = np.empty((n_lanes, memory.itemsize), np.uint8)[:, :1]
        for n in range(n_lanes):
            start = memory.size - n
            write(memory, start, n, out)
            scattered(memory, start * memory.itemsize, places, n, False, out)
            gathered(memory, start * memory.itemsize, places, n, False, out)
            masked_into(memory, start, n, out)
        sums = np.zeros(4 * n_lanes, np.float64 if dtype == np.float64 else np.float32)
        for n in range(sums.size):
            computed_where_read(memory, memory.size - n, n, 0.5, 2.0, sums)
    print("done")


@by_storage
def computed_where_read(memory, start, n, a, b, out):
    """What LLVM may take for leave to read every lane: nothing but those of the mask is used."""
    like = wide(pointer(out))
    inside = first_lanes(n, like)
    x = load_masked(pointer(memory), start, inside, 0.0, like)
    store(pointer(out), 0, where(inside, fma(x, a, b), 0.0))


@by_storage
def masked_into(memory, start, n, out):
    z = pointer(memory)
    store(pointer(out), 0, load_masked(z, start, first_lanes(n, z), 0))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are protected the Linux way")
def test_memory_outside_the_mask_is_not_even_read():
    program = "from tests.simd.test_memory import touch_only_what_is_allowed as t; t()"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.stdout == "done\n", f"ended with {process.returncode}: {process.stderr[-500:]}"
