"""How many lanes a vector has, and which of them.

A vector is one like z's: z is a pointer or an array, whose vector is one of the natural length, or a
vector itself.
"""

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .vector import Mask, Vector, as_type, has_long_registers, splat, vector_of

WIDTH = 4
"""Vectors in the widest one: enough for the latency of every operation to pass under the others."""


@intrinsic
def lanes_of(typing_context, z):
    """How many lanes the vector of z has."""
    lanes = vector_of(z).lanes

    def lower(context, builder, sig, args):
        return context.get_constant(types.intp, lanes)

    return signature(types.intp, z), lower


def _zeros(width, z):
    """The definition of an intrinsic: zeros in as many lanes as so many vectors of z have."""
    natural = vector_of(z)
    result = Vector(natural.dtype, width * natural.lanes)

    def lower(context, builder, sig, args):
        return context.get_constant_null(result)

    return signature(result, z), lower


def width():
    """Vectors in a wide one: as many as the processor's registers serve at once."""
    return WIDTH if has_long_registers() else WIDTH // 2


@intrinsic
def widest(typing_context, z):
    """A vector of zeros as long as WIDTH vectors of z."""
    return _zeros(WIDTH, z)


@intrinsic
def wide(typing_context, z):
    """A vector of zeros as long as `width()` vectors of z."""
    return _zeros(width(), z)


@intrinsic
def pair(typing_context, z):
    """A vector of zeros as long as two vectors of z."""
    return _zeros(2, z)


@intrinsic
def vector_a_lane(typing_context, z):
    """A vector of zeros as long as one vector of z for each of its lanes."""
    return _zeros(vector_of(z).lanes, z)


@intrinsic
def broadcast(typing_context, scalar, z):
    """The scalar in every lane of the vector of z."""
    result = vector_of(z)

    def lower(context, builder, sig, args):
        return as_type(context, builder, args[0], scalar, result)

    return signature(result, scalar, z), lower


def _lanes_that_are(symbol, n, z):
    """The definition of an intrinsic: the mask of the lanes whose number stands in this relation to n."""
    vector = vector_of(z)
    lanes = vector.lanes
    integer = types.Integer.from_bitwidth(vector.dtype.bitwidth, signed=True)

    def lower(context, builder, sig, args):
        all_lanes = ir.IntType(64)(lanes)
        number = context.cast(builder, args[0], n, types.int64)
        number = builder.select(builder.icmp_signed("<", number, all_lanes), number, all_lanes)
        # In integers as long as the lanes, as processors without registers for masks keep them.
        numbers = ir.VectorType(context.get_value_type(integer), lanes)
        limit = splat(builder, context.cast(builder, number, types.int64, integer), numbers)
        return builder.icmp_signed(symbol, numbers(list(range(lanes))), limit)

    return signature(Mask(lanes), n, z), lower


@intrinsic
def first_lanes(typing_context, n, z):
    """The mask whose first n lanes are true, for the vector of z."""
    return _lanes_that_are("<", n, z)


@intrinsic
def only_lane(typing_context, n, z):
    """The mask with lane n alone true, for the vector of z."""
    return _lanes_that_are("==", n, z)
