"""What the operators cannot say: fma, maximum, where, conversions, bits, and sums over lanes.

Arguments are vectors, scalars, or both; the result is a vector if any argument is one.
"""

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .storage import arithmetic_type
from .vector import Mask, Vector, as_it_is, as_type, call_intrinsic, common_type, vector_of


def _elementwise(emit, *operands):
    """The definition of an intrinsic: operands brought to their common type, then `emit`."""
    common = common_type(*operands)
    if common is None or not isinstance(getattr(common, "dtype", common), types.Float):
        return None

    def lower(context, builder, sig, args):
        values = (as_type(context, builder, a, t, common) for a, t in zip(args, sig.args, strict=True))
        return emit(builder, *values)

    return signature(common, *operands), lower


def _emit_fma(builder, x, y, z):
    return call_intrinsic(builder, "fmuladd", x, y, z)


@intrinsic
def fma(typing_context, x, y, z):
    """x·y + z, rounded once.

    `llvm.fmuladd`, not `llvm.fma`: a processor without the instruction gets a product and a sum
    rounded apart, where `llvm.fma` would call the C library for each lane.
    """
    return _elementwise(_emit_fma, x, y, z)


def _emit_maximum(builder, x, y):
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


@intrinsic
def maximum(typing_context, x, y):
    """The larger; y where either is NaN, so a NaN in x is passed over and one in y stays."""
    return _elementwise(_emit_maximum, x, y)


@intrinsic
def minimum(typing_context, x, y):
    """The smaller; y where either is NaN, so a NaN in x is passed over and one in y stays."""

    def emit(builder, x, y):
        return builder.select(builder.fcmp_ordered("<", x, y), x, y)

    return _elementwise(emit, x, y)


@intrinsic
def where(typing_context, condition, x, y):
    """x where the condition holds, y elsewhere; for a condition that is a Mask or one boolean.

    With one boolean they may be two of any one type, integers and addresses among them.
    """
    common = x if x == y else common_type(x, y)
    if isinstance(condition, Mask) and not isinstance(common, Vector):
        return None

    def lower(context, builder, sig, args):
        x, y = (as_type(context, builder, a, t, common) for a, t in zip(args[1:], sig.args[1:], strict=True))
        return builder.select(args[0], x, y)

    return signature(common, condition, x, y), lower


@intrinsic
def full_like(typing_context, x, scalar):
    """The scalar in every lane, as x has them."""
    return _elementwise(lambda builder, x, scalar: scalar, x, scalar)


def _emit_constant(context, builder, number, number_type, like):
    if not isinstance(like, Vector):
        return context.cast(builder, number, number_type, like)
    # The optimiser would otherwise know the number for a constant and fetch it again in every turn of a large
    # loop, with a 10-byte instruction each time: decoding those took longer than the arithmetic.
    scalar = as_it_is(builder, context.cast(builder, number, number_type, like.dtype))
    return as_type(context, builder, scalar, like.dtype, like)


@intrinsic
def constant(typing_context, x, number):
    """The number in every lane, as x has them, kept in a register through the loops of a kernel."""

    def lower(context, builder, sig, args):
        return _emit_constant(context, builder, args[1], number, x)

    return signature(x, x, number), lower


@intrinsic
def positive_part(typing_context, x):
    """maximum(0, x): of a 0 that it knows, the optimiser makes two instructions, a comparison and a mask."""

    def lower(context, builder, sig, args):
        zero = _emit_constant(context, builder, context.get_constant(types.float64, 0), types.float64, x)
        return _emit_maximum(builder, zero, args[0])

    return signature(x, x), lower


def _conversion(x, dtype, emit, *others):
    """The definition of an intrinsic that gives x another dtype, lane by lane."""
    result = Vector(dtype, x.lanes) if isinstance(x, Vector) else dtype

    def lower(context, builder, sig, args):
        return args[0] if x == result else emit(builder, args[0], context.get_value_type(result))

    return signature(result, x, *others), lower


def _bits_of(x):
    return (x.dtype if isinstance(x, Vector) else x).bitwidth


@intrinsic
def bits(typing_context, x):
    """The bits of a float as a signed integer of its size."""
    integer = types.Integer.from_bitwidth(_bits_of(x), signed=True)
    return _conversion(x, integer, lambda builder, x, to: builder.bitcast(x, to))


@intrinsic
def from_bits(typing_context, i):
    """The float whose bits these are."""
    return _conversion(i, types.Float(f"float{_bits_of(i)}"), lambda builder, i, to: builder.bitcast(i, to))


@intrinsic
def to_float(typing_context, i):
    """An integer as the float of its size."""
    return _conversion(i, types.Float(f"float{_bits_of(i)}"), lambda builder, i, to: builder.sitofp(i, to))


@intrinsic
def widen(typing_context, x):
    """As float64."""
    return _conversion(x, types.float64, lambda builder, x, to: builder.fpext(x, to))


@intrinsic
def narrow(typing_context, x, z):
    """float64 rounded once to the dtype that what the pointer z points at is computed in."""
    return _conversion(x, arithmetic_type(z.dtype), lambda builder, x, to: builder.fptrunc(x, to), z)


@intrinsic
def polynomial(typing_context, x, coefficients):
    """c[0] + c[1]·x + c[2]·x² + ..., by Horner's rule with an fma a term; a tuple of float64 constants."""
    if not isinstance(coefficients, types.UniTuple) or coefficients.dtype != types.float64:
        return None

    def lower(context, builder, sig, args):
        x_value, packed = args
        numbers = [builder.extract_value(packed, i) for i in range(len(coefficients))]
        terms = [_emit_constant(context, builder, number, types.float64, x) for number in numbers]
        result = terms.pop()
        while terms:
            result = _emit_fma(builder, result, x_value, terms.pop())
        return result

    return signature(x, x, coefficients), lower


def _part(builder, vector, first, lanes):
    """LLVM: so many lanes of the vector, from the first on."""
    index = ir.VectorType(ir.IntType(32), lanes)
    return builder.shuffle_vector(vector, vector, index(list(range(first, first + lanes))))


def _fold(builder, vector, combine, to_lanes=1):
    """Halve until so many lanes are left: a fixed order, the same on every machine."""
    lanes = vector.type.count
    while lanes > to_lanes:
        lanes //= 2
        low, high = (_part(builder, vector, first, lanes) for first in (0, lanes))
        vector = combine(builder, low, high)
    return vector if to_lanes > 1 else builder.extract_element(vector, ir.IntType(32)(0))


@intrinsic
def reduce_sum(typing_context, x):
    """The sum of the lanes: the upper half added to the lower until one is left."""

    def lower(context, builder, sig, args):
        return _fold(builder, args[0], lambda builder, a, b: builder.fadd(a, b))

    return signature(x.dtype, x), lower


@intrinsic
def reduce_max(typing_context, x):
    """The largest lane that is not NaN, if lane maxima were gathered with `maximum`."""

    def lower(context, builder, sig, args):
        return _fold(builder, args[0], _emit_maximum)

    return signature(x.dtype, x), lower


@intrinsic
def all_at_most(typing_context, x, bound):
    """Whether no lane is more than the bound, for a vector without negative numbers; a NaN may be or not.

    Such numbers are ordered as their bits are, and a register is compared once.
    """
    lanes = min(x.lanes, 16)

    def lower(context, builder, sig, args):
        integer = ir.IntType(_bits_of(x))

        def larger(builder, a, b):
            return builder.select(builder.icmp_signed(">", a, b), a, b)

        top = _fold(builder, builder.bitcast(args[0], ir.VectorType(integer, x.lanes)), larger, lanes)
        limit = as_type(context, builder, args[1], bound, Vector(x.dtype, lanes))
        at_most = builder.icmp_signed("<=", top, builder.bitcast(limit, top.type))
        bits = builder.bitcast(at_most, ir.IntType(lanes))
        return builder.icmp_unsigned("==", bits, bits.type(2**lanes - 1))

    return signature(types.boolean, x, bound), lower


@intrinsic
def vectors_of(typing_context, x, z):
    """The vectors with the lanes of z that x is made of, in their order."""
    vector = Vector(x.dtype, vector_of(z).lanes)
    result = types.UniTuple(vector, x.lanes // vector.lanes)

    def lower(context, builder, sig, args):
        firsts = range(0, x.lanes, vector.lanes)
        parts = [_part(builder, args[0], first, vector.lanes) for first in firsts]
        return context.make_tuple(builder, result, parts)

    return signature(result, x, z), lower


@intrinsic
def folded(typing_context, x, z):
    """A vector as one with the lanes of z: the upper half added to the lower until it is no longer."""
    result = Vector(x.dtype, vector_of(z).lanes)

    def lower(context, builder, sig, args):
        return _fold(builder, args[0], lambda builder, a, b: builder.fadd(a, b), result.lanes)

    return signature(result, x, z), lower
