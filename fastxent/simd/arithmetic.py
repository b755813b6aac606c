"""What the operators cannot say: fma, maximum, where, conversions, bits, and sums over lanes.

Arguments are vectors, scalars, or both; the result is a vector if any argument is one.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .vector import Mask, Vector, as_type, common_type


def _elementwise(emit):
    """An intrinsic over operands brought to their common type."""

    def define(typing_context, *operands):
        common = common_type(*operands)
        if common is None:
            return None

        def lower(context, builder, sig, args):
            values = [as_type(context, builder, a, t, common) for a, t in zip(args, sig.args, strict=True)]
            return emit(builder, *values)

        return signature(common, *operands), lower

    return define


@intrinsic
def fma(typing_context, x, y, z):
    """x·y + z, rounded once.

    `llvm.fmuladd`, not `llvm.fma`: a processor without the instruction gets a product and a sum
    rounded apart, where `llvm.fma` would call the C library for each lane.
    """

    def emit(builder, x, y, z):
        suffix = f"v{x.type.count}f" if isinstance(x.type, ir.VectorType) else "f"
        element = x.type.element if isinstance(x.type, ir.VectorType) else x.type
        bits = 32 if isinstance(element, ir.FloatType) else 64
        function_type = ir.FunctionType(x.type, [x.type] * 3)
        name = f"llvm.fmuladd.{suffix}{bits}"
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), (x, y, z))

    return _elementwise(emit)(typing_context, x, y, z)


def _emit_maximum(builder, x, y):
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


@intrinsic
def maximum(typing_context, x, y):
    """The larger; y where either is NaN, so a NaN in x is passed over and one in y stays."""
    return _elementwise(_emit_maximum)(typing_context, x, y)


@intrinsic
def minimum(typing_context, x, y):
    """The smaller; y where either is NaN, so a NaN in x is passed over and one in y stays."""

    def emit(builder, x, y):
        return builder.select(builder.fcmp_ordered("<", x, y), x, y)

    return _elementwise(emit)(typing_context, x, y)


@intrinsic
def where(typing_context, condition, x, y):
    """x where the condition holds, y elsewhere; for a condition that is a Mask or one boolean."""
    common = common_type(x, y)
    if isinstance(condition, Mask) and not isinstance(common, Vector):
        return None

    def lower(context, builder, sig, args):
        x, y = (as_type(context, builder, a, t, common) for a, t in zip(args[1:], sig.args[1:], strict=True))
        return builder.select(args[0], x, y)

    return signature(common, condition, x, y), lower


@intrinsic
def full_like(typing_context, x, scalar):
    """The scalar in every lane, as x has them."""
    return _elementwise(lambda builder, x, scalar: scalar)(typing_context, x, scalar)


def _keep_in_register(builder, scalar):
    """LLVM: the same number, by a road the optimiser does not see through.

    It would otherwise know the number for a constant and fetch it again in every turn of a large loop,
    with a 10-byte instruction each time: decoding those took longer than the arithmetic.
    """
    name = f"llvm.arithmetic.fence.f{32 if isinstance(scalar.type, ir.FloatType) else 64}"
    function_type = ir.FunctionType(scalar.type, [scalar.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [scalar])


@intrinsic
def constant(typing_context, x, number):
    """The number in every lane, as x has them, kept in a register through the loops of a kernel."""

    def lower(context, builder, sig, args):
        if not isinstance(x, Vector):
            return context.cast(builder, args[1], number, x)
        scalar = _keep_in_register(builder, context.cast(builder, args[1], number, x.dtype))
        return as_type(context, builder, scalar, x.dtype, x)

    return signature(x, x, number), lower


def _with_dtype(vector, dtype):
    return Vector(dtype, vector.lanes) if isinstance(vector, Vector) else dtype


def _dtype_of(value):
    return value.dtype if isinstance(value, Vector) else value


@intrinsic
def bits(typing_context, x):
    """The bits of a float as a signed integer of its size."""
    result = _with_dtype(x, types.Integer.from_bitwidth(_dtype_of(x).bitwidth, signed=True))

    def lower(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return signature(result, x), lower


@intrinsic
def from_bits(typing_context, i):
    """The float whose bits these are."""
    result = _with_dtype(i, types.Float(f"float{_dtype_of(i).bitwidth}"))

    def lower(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return signature(result, i), lower


@intrinsic
def to_float(typing_context, i):
    """An integer as the float of its size."""
    result = _with_dtype(i, types.Float(f"float{_dtype_of(i).bitwidth}"))

    def lower(context, builder, sig, args):
        return builder.sitofp(args[0], context.get_value_type(result))

    return signature(result, i), lower


@intrinsic
def widen(typing_context, x):
    """As float64."""
    result = _with_dtype(x, types.float64)

    def lower(context, builder, sig, args):
        return args[0] if x == result else builder.fpext(args[0], context.get_value_type(result))

    return signature(result, x), lower


@intrinsic
def narrow(typing_context, x, z):
    """float64 rounded once to the dtype that the pointer z points at."""
    result = _with_dtype(x, z.dtype)

    def lower(context, builder, sig, args):
        return args[0] if x == result else builder.fptrunc(args[0], context.get_value_type(result))

    return signature(result, x, z), lower


@intrinsic
def polynomial(typing_context, x, coefficients):
    """c[0] + c[1]·x + c[2]·x² + ..., by Horner's rule with an fma a term."""

    def lower(context, builder, sig, args):
        x_value, packed = args
        constant_signature, constant_lower = constant._defn(typing_context, x, types.float64)
        terms = [
            constant_lower(context, builder, constant_signature, (x_value, builder.extract_value(packed, i)))
            for i in range(len(coefficients))
        ]
        result = terms.pop()
        fma_signature, fma_lower = fma._defn(typing_context, x, x, x)
        while terms:
            result = fma_lower(context, builder, fma_signature, (result, x_value, terms.pop()))
        return result

    return signature(x, x, coefficients), lower


def _fold(builder, vector, combine):
    """Halve until one lane is left: a fixed order, the same on every machine."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        index = ir.VectorType(ir.IntType(32), lanes)
        low = builder.shuffle_vector(vector, vector, index(list(range(lanes))))
        high = builder.shuffle_vector(vector, vector, index(list(range(lanes, 2 * lanes))))
        vector = combine(builder, low, high)
    return builder.extract_element(vector, ir.IntType(32)(0))


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
