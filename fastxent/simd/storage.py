"""Floats in memory: which there are, and how they become the floats of registers.

float16 and bfloat16 exist in memory only. Reading them gives float32, exactly; writing them rounds
float32 or float64 once, to the nearest and to even in ties, and a NaN stays one. Vectors of bfloat16 are
written as x86's instruction does it, which makes 0 of subnormal numbers; x86 processors that have none
are to be in the mode that makes no such numbers: see `subnormals`. Other processors keep them.
"""

from functools import cache

import numpy as np
from llvmlite import binding, ir
from numba import from_dtype
from numba.core import types
from numba.extending import models, register_model

_I16, _I32, _FLOAT = ir.IntType(16), ir.IntType(32), ir.FloatType()


class Half(types.Type):
    """A float of two bytes, which is loaded and stored but not computed with."""

    bitwidth = 16


@register_model(Half)
class _HalfModel(models.PrimitiveModel):
    def __init__(self, manager, half):
        super().__init__(manager, half, _I16)


float16 = Half("float16")
bfloat16 = Half("bfloat16")
_HALVES = {half.name: half for half in (float16, bfloat16)}


def storage_type(dtype: np.dtype) -> types.Type:
    """Numba's type of an element in memory."""
    half = _HALVES.get(dtype.name) if dtype.isnative else None
    return half or from_dtype(dtype)


def arithmetic_type(stored):
    """The dtype that elements of this type are computed in."""
    return types.float32 if isinstance(stored, Half) else stored


def converts(stored, dtype):
    """Whether elements of the one type are loaded as numbers of the other, and these stored as those."""
    return stored == dtype or (isinstance(stored, (types.Float, Half)) and isinstance(dtype, types.Float))


def from_storage(context, builder, value, stored, dtype):
    """LLVM: an element, or a vector of them, as numbers of the dtype."""
    if isinstance(stored, Half):
        value, stored = _half_to_float(context, builder, value, stored), types.float32
    return _resized(context, builder, value, stored, dtype)


def to_storage(context, builder, value, dtype, stored):
    """LLVM: a number of the dtype, or a vector of them, as elements."""
    if not isinstance(stored, Half):
        return _resized(context, builder, value, dtype, stored)
    if dtype == types.float64:
        value = without_subnormals(context, builder, _odd_float32(builder, value), stored)
    return _float_to_half(context, builder, value, stored)


def has_flush_mode(context):
    triple, _, _ = context.codegen().magic_tuple()
    return triple.startswith("x86_64")


def without_subnormals(context, builder, value, stored):
    """LLVM: a vector of float32 with 0 for each that the elements do not hold, unless storing makes it 0."""
    # Without flush mode single numbers are not 0 either, and a bit would depend on how an array is walked.
    if stored != bfloat16 or not isinstance(value.type, ir.VectorType) or not has_flush_mode(context):
        return value
    if _target_converts(stored, *context.codegen().magic_tuple()):
        return value
    words = builder.bitcast(value, _of(_I32, value))
    exponents = builder.and_(words, _constant(0x7F800000, words))
    zeros = builder.and_(words, _constant(0x80000000, words))
    is_small = builder.icmp_unsigned("==", exponents, _constant(0, words))
    return builder.bitcast(builder.select(is_small, zeros, words), value.type)


class _BFloatType(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self):
        return "bfloat"


_LLVM_HALVES = {float16: ir.HalfType(), bfloat16: _BFloatType()}


def _half_to_float(context, builder, value, half):
    if half == bfloat16:
        return _from_bfloat16(builder, value)
    if _target_converts(half, *context.codegen().magic_tuple()):
        return builder.fpext(builder.bitcast(value, _of(ir.HalfType(), value)), _of(_FLOAT, value))
    return _from_float16(builder, value)


def _float_to_half(context, builder, value, half):
    converts = _target_converts(half, *context.codegen().magic_tuple())
    if half == bfloat16 and not (converts and isinstance(value.type, ir.VectorType)):
        return _to_bfloat16(builder, value)
    if not converts:
        return _to_float16(builder, value)
    return builder.bitcast(builder.fptrunc(value, _of(_LLVM_HALVES[half], value)), _of(_I16, value))


@cache
def _target_converts(half, triple, cpu, features):
    """Whether the processor does; if not, LLVM calls library functions that Numba does not provide."""
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    name = _LLVM_HALVES[half]
    module = binding.parse_assembly(
        f"define {name} @f(float %x) {{\n  %y = fptrunc float %x to {name}\n  ret {name} %y\n}}"
    )
    assembly = machine.emit_assembly(module)
    return not any(name in assembly for name in ("truncsfhf2", "gnu_f2h_ieee", "aeabi_f2h", "truncsfbf2"))


def _of(element, like):
    """LLVM: the element type, or the vector of as many as the value `like` has."""
    return ir.VectorType(element, like.type.count) if isinstance(like.type, ir.VectorType) else element


def _constant(number, like):
    """LLVM: the number as the value `like` has it, in every lane."""
    is_vector = isinstance(like.type, ir.VectorType)
    return ir.Constant(like.type, [number] * like.type.count if is_vector else number)


def _resized(context, builder, value, source, target):
    if source == target:
        return value
    convert = builder.fpext if source.bitwidth < target.bitwidth else builder.fptrunc
    return convert(value, _of(context.get_value_type(target), value))


def _odd_float32(builder, x):
    """float64 as float32, the odd of the two beside it where it is not one itself.

    Rounding that to fewer digits gives what rounding x would: the last bit says that there was more, so
    that no tie is made or missed.
    """
    nearest = builder.fptrunc(x, _of(_FLOAT, x))
    back = builder.fpext(nearest, x.type)
    inexact = builder.fcmp_ordered("!=", back, x)
    negative = builder.fcmp_ordered("<", x, _constant(0.0, x))
    too_far = builder.and_(inexact, builder.xor(builder.fcmp_ordered(">", back, x), negative))
    words = builder.bitcast(nearest, _of(_I32, x))
    toward_zero = builder.sub(words, builder.zext(too_far, words.type))
    return builder.bitcast(builder.or_(toward_zero, builder.zext(inexact, words.type)), nearest.type)


def _from_bfloat16(builder, stored):
    words = builder.zext(stored, _of(_I32, stored))
    return builder.bitcast(builder.shl(words, _constant(16, words)), _of(_FLOAT, stored))


def _rounded(builder, words, places):
    """Words whose bits above so many places are those of the nearest multiple of 2**places, even in ties."""
    odd = builder.and_(builder.lshr(words, _constant(places, words)), _constant(1, words))
    half = builder.add(odd, _constant((1 << places - 1) - 1, words))
    return builder.add(words, half)


def _to_bfloat16(builder, x):
    words = builder.bitcast(x, _of(_I32, x))
    is_nan = builder.fcmp_unordered("uno", x, x)
    rounded = builder.select(is_nan, _constant(0x7FC00000, words), _rounded(builder, words, 16))
    if not isinstance(x.type, ir.VectorType):
        return builder.trunc(builder.lshr(rounded, _constant(16, words)), _I16)
    # The upper half of each word, which two registers' worth are taken from by one instruction.
    lanes = x.type.count
    halves = builder.bitcast(rounded, ir.VectorType(_I16, 2 * lanes))
    return builder.shuffle_vector(halves, halves, ir.VectorType(_I32, lanes)(list(range(1, 2 * lanes, 2))))


_REBIAS = 127 - 15 << 23  # from float16's exponent to float32's


def _from_float16(builder, stored):
    words = builder.zext(stored, _of(_I32, stored))
    magnitude = builder.and_(words, _constant(0x7FFF, words))
    sign = builder.shl(builder.xor(words, magnitude), _constant(16, words))
    # The exponent field of an infinity or NaN is all ones in both.
    special = builder.icmp_unsigned(">=", magnitude, _constant(0x7C00, words))
    rebias = builder.select(special, _constant(2 * _REBIAS, words), _constant(_REBIAS, words))
    normal = builder.add(builder.shl(magnitude, _constant(13, words)), rebias)
    units = builder.sitofp(magnitude, _of(_FLOAT, stored))
    subnormal = builder.bitcast(builder.fmul(units, _constant(2.0**-24, units)), words.type)
    is_subnormal = builder.icmp_unsigned("<", magnitude, _constant(0x400, words))
    return builder.bitcast(builder.or_(builder.select(is_subnormal, subnormal, normal), sign), units.type)


def _to_float16(builder, x):
    words = builder.bitcast(x, _of(_I32, x))
    magnitude = builder.and_(words, _constant(0x7FFFFFFF, words))
    sign = builder.lshr(builder.xor(words, magnitude), _constant(16, words))
    rounded = _rounded(builder, builder.sub(magnitude, _constant(_REBIAS, words)), 13)
    normal = builder.lshr(rounded, _constant(13, words))
    infinity = _constant(0x7C00, words)
    normal = builder.select(builder.icmp_unsigned("<", normal, infinity), normal, infinity)
    # Beside ½ a float32 has the last place of float16's subnormals, and the sum rounds to it.
    beside_half = builder.fadd(builder.bitcast(magnitude, x.type), _constant(0.5, x))
    subnormal = builder.sub(builder.bitcast(beside_half, words.type), _constant(0x3F000000, words))
    is_subnormal = builder.icmp_unsigned("<", magnitude, _constant(127 - 14 << 23, words))
    finite = builder.select(is_subnormal, subnormal, normal)
    is_nan = builder.fcmp_unordered("uno", x, x)
    result = builder.or_(builder.select(is_nan, _constant(0x7E00, words), finite), sign)
    return builder.trunc(result, _of(_I16, x))
