"""What kernels are made of, on a GPU: warp shuffles, loads and stores of 16 bytes, and half types.

The same names as in `simulated.py`.
"""

from math import exp, log, log1p, tanh

import numpy as np
from llvmlite import ir
from numba import cuda
from numba.core import cgutils, types
from numba.cuda import libdevice
from numba.cuda.extending import intrinsic

__all__ = ["exp", "log", "log1p", "tanh"]

WARP = 32
_EVERY_LANE = 0xFFFFFFFF
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)

device = cuda.jit(device=True)
kernel = cuda.jit


@intrinsic
def cast(typing_context, x, like):
    """x in the type of `like`."""

    def lower(context, builder, signature, arguments):
        return context.cast(builder, arguments[0], x, like)

    return like(x, like), lower


@device
def power(x, y):
    return x**y


@device
def _sum_of_warp(x):
    for distance in (16, 8, 4, 2, 1):
        x += cuda.shfl_xor_sync(_EVERY_LANE, x, distance)
    return x


@device
def _max_of_warp(x):
    for distance in (16, 8, 4, 2, 1):
        other = cuda.shfl_xor_sync(_EVERY_LANE, x, distance)
        x = x if x > other else other
    return x


@device
def sum_of_block(x):
    """For every thread, and in one order."""
    shared = cuda.shared.array(WARP, np.float64)  # one of each warp; nothing is lost of float32
    lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
    x = _sum_of_warp(x)
    if cuda.blockDim.x > WARP:
        cuda.syncthreads()  # what was here before has been read
        if lane == 0:
            shared[warp] = x
        cuda.syncthreads()
        x = _sum_of_warp(cast(shared[lane] if lane * WARP < cuda.blockDim.x else 0.0, x))
    else:
        cuda.syncwarp()  # what other lanes have read may now be overwritten
    return x


@device
def max_of_block(x):
    shared = cuda.shared.array(WARP, np.float64)
    lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
    x = _max_of_warp(x)
    if cuda.blockDim.x > WARP:
        cuda.syncthreads()
        if lane == 0:
            shared[warp] = x
        cuda.syncthreads()
        x = _max_of_warp(cast(shared[lane if lane * WARP < cuda.blockDim.x else 0], x))
    return x


@intrinsic
def address(typing_context, row):
    def lower(context, builder, signature, arguments):
        array = context.make_array(row)(context, builder, value=arguments[0])
        return builder.ptrtoint(array.data, _INT64)

    return types.int64(row), lower


def _address_of(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, value=array).data
    return builder.gep(data, [index])


def _vector_at(context, builder, row_type, row, j):
    """The address of 16 bytes, and the words they are moved as: vectors of 16-bit ones would be cut up."""
    element = context.get_data_type(row_type.dtype)
    word = ir.IntType(32) if row_type.dtype.bitwidth == 16 else element
    vector = ir.VectorType(word, 128 // max(32, row_type.dtype.bitwidth))
    pointer = _address_of(context, builder, row_type, row, j)
    return builder.bitcast(pointer, vector.as_pointer()), vector, element


@intrinsic
def load_vector(typing_context, row, j, z):
    """16 bytes from an address that is a multiple of 16 into a local array of what they are."""

    def lower(context, builder, signature, arguments):
        from_row, at, to = arguments
        pointer, vector, element = _vector_at(context, builder, row, from_row, at)
        loaded, k = builder.load(pointer, align=16), 0
        for i in range(vector.count):
            word = builder.extract_element(loaded, _INT32(i))
            halves = [word]
            if vector.element != element:
                halves = [builder.trunc(part, element) for part in (word, builder.lshr(word, _INT32(16)))]
            for half in halves:
                builder.store(half, _address_of(context, builder, z, to, _INT64(k)))
                k += 1
        return context.get_dummy_value()

    return types.void(row, j, z), lower


@intrinsic
def store_vector(typing_context, row, j, z, first):
    """From `first` on, 16 bytes of a local array to an address that is a multiple of 16."""

    def lower(context, builder, signature, arguments):
        to_row, at, array, start = arguments
        pointer, vector, element = _vector_at(context, builder, row, to_row, at)

        def value(k):
            return builder.load(_address_of(context, builder, z, array, builder.add(start, _INT64(k))))

        words = ir.Constant(vector, ir.Undefined)
        for i in range(vector.count):
            if vector.element == element:
                word = value(i)
            else:
                low, high = (builder.zext(value(2 * i + k), _INT32) for k in range(2))
                word = builder.or_(low, builder.shl(high, _INT32(16)))
            words = builder.insert_element(words, word, _INT32(i))
        builder.store(words, pointer, align=16)
        return context.get_dummy_value()

    return types.void(row, j, z, types.int64), lower


@device
def _same(x):
    return x


@device
def _from_float16(bits):
    return libdevice.half2float(np.int16(bits))


@device
def _from_bfloat16(bits):
    return libdevice.int_as_float(np.int32(np.uint32(bits) << np.uint32(16)))


@device
def _to_float16(x):
    return np.uint16(libdevice.float2half_rn(x))


@device
def _to_bfloat16(x):
    bits = np.uint32(libdevice.float_as_int(x))
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.uint32(rounded if x == x else np.uint32(0x7FFF))


@intrinsic
def _has_bfloat16(typing_context):
    """Whether the GPU that code is made for rounds to it, as from 8.0 on: NVVM knows, and no test is left."""

    def lower(context, builder, signature, arguments):
        asks = ir.FunctionType(_INT32, [cgutils.voidptr_t])
        reflect = cgutils.get_or_insert_function(builder.module, asks, "__nvvm_reflect")
        generation = builder.call(reflect, [context.insert_string_const_addrspace(builder, "__CUDA_ARCH")])
        return builder.icmp_signed(">=", generation, _INT32(800))

    return types.boolean(), lower


@intrinsic
def _rounded_together(typing_context, low, high):
    """Two bfloat16 as one word."""

    def lower(context, builder, signature, arguments):
        of_two = ir.FunctionType(_INT32, [ir.FloatType()] * 2)
        return builder.asm(of_two, "cvt.rn.bf16x2.f32 $0, $2, $1;", "=r,f,f", arguments, side_effect=False)

    return types.uint32(types.float32, types.float32), lower


@device
def _encode_bfloat16(z, bits):
    for k in range(0, len(z), 2):
        if _has_bfloat16():
            word = _rounded_together(z[k], z[k + 1])
        else:
            word = np.uint32(_to_bfloat16(z[k]) | (_to_bfloat16(z[k + 1]) << np.uint32(16)))
        bits[k], bits[k + 1] = np.uint16(word), np.uint16(word >> np.uint32(16))


def _each(encode):
    @device
    def encode_vector(z, bits):
        for k in range(len(z)):
            bits[k] = encode(z[k])

    return encode_vector


decoded = {"float32": _same, "float64": _same, "float16": _from_float16, "bfloat16": _from_bfloat16}
encoded = {
    "float32": _each(_same),
    "float64": _each(_same),
    "float16": _each(_to_float16),
    "bfloat16": _encode_bfloat16,
}
