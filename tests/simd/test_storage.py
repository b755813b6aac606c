"""float16 and bfloat16 in memory: every number of theirs is read exactly, and every store rounds once."""

import pickle
import platform

import numpy as np
import pytest
from llvmlite import binding
from numba import types

from fastxent import simd
from fastxent.simd import (
    Vector,
    bfloat16,
    broadcast,
    empty_row,
    first_lanes,
    float16,
    flush_subnormals,
    gather,
    get,
    lanes_of,
    load,
    load_masked,
    narrow,
    pointer,
    put,
    restore_subnormals,
    row_offsets,
    row_pointer,
    scatter,
    storage,
    storage_type,
    store,
    store_masked,
    widen,
    without_subnormals,
)
from tests.measure import assert_same_bits
from tests.simd.compiled import by_storage

# NumPy's conversions warn of NaN and of what overflows.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

FLOATS = ["float16", "bfloat16", "float32", "float64"]
LEAST_EXPONENT = {"float16": -14, "bfloat16": -126}
DIGITS = {"float16": 10, "bfloat16": 7}  # after the leading one
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


def dtype_of(name):
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name)


@pytest.fixture(params=["float16", "bfloat16"])
def half(request):
    return dtype_of(request.param)


@pytest.fixture(params=["the processor's", "by integers"])
def conversion(request, monkeypatch):
    """What is compiled for this processor, and what is compiled for one that has none."""
    if request.param == "by integers":
        monkeypatch.setattr(storage, "_target_converts", lambda *target: False)


def every_pattern(dtype):
    return np.arange(1 << 16).astype(np.uint16).view(dtype)


def copy(x, out):
    """As many lanes at once as there are of the wider, or of float32 if neither is."""
    p, q = pointer(x), pointer(out)
    for j in range(0, x.size, lanes_of(q)):
        store(q, j, without_subnormals(load(p, j, q), q))


def copy_stored(x, out):
    """The lanes of what is read, converted by the store alone."""
    p, q = pointer(x), pointer(out)
    for j in range(0, x.size, lanes_of(p)):
        store(q, j, without_subnormals(load(p, j), q))


def halve_in_flush_mode(x, out):
    p, q = pointer(x), pointer(out)
    control = flush_subnormals()
    for j in range(0, x.size, lanes_of(q)):
        store(q, j, load(p, j, q) * 0.5)
    restore_subnormals(control)


def copy_scalars(x, out):
    p, q = pointer(x), pointer(out)
    for j in range(x.size):
        put(q, j, get(p, j))


def converted(x, dtype, how):
    out = np.zeros(x.size, dtype)
    by_storage(how)(x, out)
    return out


def as_written(expected, x, how):
    """On x86 vectors of bfloat16 have 0 for what is less than its least normal number."""
    is_small = np.abs(x.astype(np.float64)) < 2.0 ** LEAST_EXPONENT["bfloat16"]
    if expected.dtype.name != "bfloat16" or how is copy_scalars or not IS_X86:
        return expected
    return np.where(is_small, np.copysign(expected.dtype.type(0), expected), expected)


def rounded_once(x, dtype):
    """float64 to the nearest number of the half type, worked out on its grid."""
    least, digits = LEAST_EXPONENT[dtype.name], DIGITS[dtype.name]
    largest = (2 - 2.0**-digits) * 2.0 ** (1 - least)
    _, exponent = np.frexp(x)
    unit = np.ldexp(1.0, np.maximum(exponent - 1, least) - digits)
    on_grid = np.where(np.isfinite(x), np.rint(x / unit) * unit, x)
    return np.where(np.abs(on_grid) > largest, np.copysign(np.inf, x), on_grid).astype(dtype)


def between_halves(dtype):
    """float64: the numbers of the type and the ties between them, and a little beside them."""
    numbers = every_pattern(dtype)[: 1 << 15].astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    beyond = 2 * numbers[-1] - numbers[-2]  # what would be next, if the exponent went on
    ties = (numbers + np.append(numbers[1:], beyond)) / 2
    points = np.concatenate([numbers, ties, [beyond, 1e300, 1e-300, 5e-324, np.inf, np.nan]])
    near = [points * (1 + n * 2.0**-52) for n in (-1, 0, 1)] + [points * (1 + n * 2.0**-24) for n in (-1, 1)]
    positive = np.concatenate(near)
    return np.resize(np.concatenate([positive, -positive]), 2 * positive.size + 15 & -16)


def test_every_number_is_read_exactly_and_written_back(half, conversion):
    x = every_pattern(half)
    for wide in (np.float32, np.float64):
        for how in (copy, copy_stored, copy_scalars):
            expected = x.astype(wide)
            assert_same_bits(converted(x, wide, how), expected)
            assert_same_bits(converted(expected, half, how), as_written(x, x, how))


def test_float32_is_rounded_as_numpy_rounds_it(half, conversion):
    upper = np.arange(1 << 16, dtype=np.uint32)[:, None] << 16
    patterns = np.random.default_rng(1).integers(0, 1 << 16, (1 << 16, 8), dtype=np.uint32)
    patterns[:, :7] = 0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1000
    x = np.concatenate([(upper | patterns).view(np.float32).ravel(), between_halves(half).astype(np.float32)])
    expected = x.astype(half)
    for how in (copy, copy_stored):
        assert_same_bits(converted(x, half, how), as_written(expected, x, how))
    assert_same_bits(converted(x[::31].copy(), half, copy_scalars), expected[::31])


@pytest.mark.skipif(not IS_X86, reason="others have no such mode")
def test_results_in_flush_mode_are_written_as_those_that_are_made_normal_or_zero(conversion):
    x = between_halves(dtype_of("bfloat16")).astype(np.float32)
    halves = x.astype(np.float64) / 2
    flushed = np.where(np.abs(halves) < np.finfo(np.float32).tiny, np.copysign(0, x), halves)
    assert np.any(flushed != halves)  # or nothing was tested
    bfloat16_has = converted(flushed.astype(np.float32), dtype_of("bfloat16"), copy)
    assert_same_bits(converted(x, dtype_of("bfloat16"), halve_in_flush_mode), bfloat16_has)


def test_numbers_beside_subnormal_ones_are_rounded_as_they_are_alone(half, conversion):
    tiny = [1e-39, -(2.0**-133), 2.0**-149, 0.0, -0.0]
    x = np.random.default_rng(5).standard_normal((len(tiny), 64, 64)).astype(np.float32)
    for lane in range(64):
        x[:, lane, lane] = tiny
    expected = as_written(x.ravel().astype(half), x.ravel(), copy)
    assert_same_bits(converted(x.ravel(), half, copy), expected)


@pytest.mark.parametrize("how", [copy_stored, copy_scalars])
def test_float64_is_rounded_once(half, conversion, how):
    x = between_halves(half)
    assert_same_bits(converted(x, half, how), as_written(rounded_once(x, half), x, how))
    through_float32 = x.astype(np.float32).astype(half)
    assert np.any(through_float32 != rounded_once(x, half))  # or nothing was tested


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", FLOATS)
def test_any_float_is_loaded_and_stored_as_any_other(source, target):
    numbers = np.random.default_rng(2).standard_normal(64).astype(np.float32)
    x, dtype = numbers.astype(dtype_of(source)), dtype_of(target)
    for how in (copy, copy_stored, copy_scalars):
        assert_same_bits(converted(x, dtype, how), x.astype(dtype))


@by_storage
def masked(x, back, on, like, n, out):
    """Each masked access once, for the first n lanes, with a fill that no half type has."""
    p, z = pointer(x), pointer(like)
    mask = first_lanes(n, z)
    store(pointer(out), 0, load_masked(p, 3, mask, 0.1, z))
    store(row_pointer(out, 1), 0, gather(p, 2, row_offsets(back, 0, z), mask, 0.1, z))
    ones = broadcast(1.0, z)
    store_masked(p, 40, ones, mask)
    scatter(p, 200, row_offsets(on, 0, z), ones, mask)


@pytest.mark.parametrize("like", ["float32", "float64"])
def test_masked_access_converts_the_lanes_of_the_mask_alone(half, like):
    lanes = 64 // np.dtype(like).itemsize
    memory = np.arange(400).astype(half)
    for n in range(lanes + 1):
        x, out = memory.copy(), np.zeros((2, lanes), like)
        back, on = (np.ndarray((lanes, 1), np.uint8, x, 200, (step, 1)) for step in (-6, 14))
        masked(x[100:], back, on, np.zeros(1, like), n, out)
        inside = np.arange(lanes) < n
        fill = np.full(lanes, 0.1, like)
        assert_same_bits(out[0], np.where(inside, memory[103 : 103 + lanes].astype(like), fill))
        assert_same_bits(out[1], np.where(inside, memory[101 - 3 * np.arange(lanes)].astype(like), fill))
        expected = memory.copy()
        expected[140 : 140 + n] = 1
        expected[200 : 200 + 7 * n : 7] = 1
        assert_same_bits(x, expected)


def computed(x, scratch, out):
    z = pointer(x)
    row = empty_row(scratch, z)
    store(pointer(row), 0, load(z, 0) / 3.0)
    store(pointer(out), 0, load(pointer(row), 0))
    store(row_pointer(out, 1), 0, narrow(widen(load(z, 0)) / 3.0, z))
    return row.size


@pytest.mark.parametrize("name", FLOATS)
def test_scratch_memory_and_narrow_have_the_digits_of_the_arithmetic(name):
    dtype = dtype_of(name)
    wide = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    x, out = np.arange(16).astype(dtype), np.zeros((2, 64 // wide.itemsize), wide)
    assert by_storage(computed)(x, 16, out) == 16
    third = x[: out.shape[1]].astype(wide) / wide.type(3)
    assert_same_bits(out, np.stack([third, third]))


def test_type_in_memory_is_found_by_dtype_and_survives_the_cache():
    assert storage_type(np.dtype(np.float16)) == float16
    assert storage_type(np.dtype(np.float32)) == types.float32
    assert storage_type(np.dtype(np.int64)) == types.int64
    assert float16 != bfloat16
    for number in (float16, bfloat16):
        assert pickle.loads(pickle.dumps(number)) == number
        assert hash(pickle.loads(pickle.dumps(number))) == hash(number)
    with pytest.raises(Exception, match=">f2"):
        storage_type(np.dtype(">f2"))


def test_bfloat16_is_known_by_its_name(half):
    assert storage_type(half).name == half.name


def test_lanes_of_a_half_are_those_of_float32():
    assert simd.vector.vector_of(types.CPointer(bfloat16)) == Vector(types.float32, 16)


@pytest.mark.skipif(not binding.get_default_triple().startswith("x86_64"), reason="names x86 processors")
def test_processor_without_conversions_is_known():
    triple = binding.get_default_triple()
    assert storage._target_converts(float16, triple, "haswell", "")
    assert not storage._target_converts(float16, triple, "x86-64", "")
    assert not storage._target_converts(float16, triple, "haswell", "-f16c")
    assert storage._target_converts(bfloat16, triple, "sapphirerapids", "")
    assert not storage._target_converts(bfloat16, triple, "haswell", "")
