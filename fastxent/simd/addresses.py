"""Where the rows of an array lie, for any number of axes and any strides; classes are on the last axis."""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .formula import formula
from .vector import PairPointer, Vector, splat, vector_of

_INDEX = types.int64


def _row_offset(builder, view, n_axes, i):
    """LLVM: bytes from the start of the array to row i, which may be a vector of rows."""

    def extent(name, axis):
        scalar = builder.extract_value(getattr(view, name), axis)
        return splat(builder, scalar, i.type) if isinstance(i.type, ir.VectorType) else scalar

    offset = None
    for axis in reversed(range(n_axes - 1)):
        place = builder.srem(i, extent("shape", axis)) if axis else i
        step = builder.mul(place, extent("strides", axis))
        offset = step if offset is None else builder.add(offset, step)
        i = builder.sdiv(i, extent("shape", axis)) if axis else i
    return offset


@intrinsic
def row_pointer(typing_context, array, i):
    """The address of the first class of row i, counted over all the leading axes."""
    result = types.CPointer(array.dtype)

    def lower(context, builder, sig, args):
        view = context.make_array(array)(context, builder, args[0])
        row = context.cast(builder, args[1], i, _INDEX)
        return cgutils.pointer_add(builder, view.data, _row_offset(builder, view, array.ndim, row))

    return signature(result, array, i), lower


@intrinsic
def row_offsets(typing_context, array, i, z):
    """A vector of bytes from the start of the array to row i, row i + 1, ..., one for each lane of z."""
    result = Vector(_INDEX, vector_of(z).lanes)

    def lower(context, builder, sig, args):
        view = context.make_array(array)(context, builder, args[0])
        vector = context.get_value_type(result)
        first = splat(builder, context.cast(builder, args[1], i, _INDEX), vector)
        rows = builder.add(first, vector(list(range(result.lanes))))
        return _row_offset(builder, view, array.ndim, rows)

    return signature(result, array, i, z), lower


@intrinsic
def advance(typing_context, z, n_bytes):
    """The pointer z, so many bytes on."""

    def lower(context, builder, sig, args):
        return cgutils.pointer_add(builder, args[0], context.cast(builder, args[1], n_bytes, _INDEX))

    return signature(z, z, n_bytes), lower


@intrinsic
def in_pairs(typing_context, p):
    """The pointer p, with vectors of twice the natural length."""

    def lower(context, builder, sig, args):
        return args[0]

    return signature(PairPointer(p.dtype), p), lower


@intrinsic
def skip(typing_context, p, n):
    """The pointer p, n elements on."""

    def lower(context, builder, sig, args):
        return builder.gep(args[0], [context.cast(builder, args[1], n, _INDEX)])

    return signature(p, p, n), lower


@intrinsic
def number_of(typing_context, p):
    """The address as an integer."""

    def lower(context, builder, sig, args):
        return builder.ptrtoint(args[0], ir.IntType(64))

    return signature(types.int64, p), lower


@formula
def are_apart(p, q):
    """Whether two pointers, maybe of different types, are to different places."""
    return number_of(p) != number_of(q)


@intrinsic
def pointer_as(typing_context, scratch, z):
    """The first byte of a scratch array as an address of elements like those that z points at or holds."""
    result = types.CPointer(z.dtype)

    def lower(context, builder, sig, args):
        view = context.make_array(scratch)(context, builder, args[0])
        return builder.bitcast(view.data, context.get_value_type(result))

    return signature(result, scratch, z), lower
