"""Stores past the caches, for what is written once and not soon read: memory need not be read for them."""

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .memory import element_address
from .storage import converts, to_storage
from .vector import natural_vector


@intrinsic
def store_past_caches(typing_context, p, i, vector):
    """p[i], p[i+1], ... = vector, where p[i] is at a multiple of its size; seen by others after a `fence`."""
    if not converts(p.dtype, vector.dtype):
        return None

    def lower(context, builder, sig, args):
        elements = to_storage(context, builder, args[2], vector.dtype, p.dtype)
        address = element_address(context, builder, args[0], args[1], i, elements.type)
        size = p.dtype.bitwidth * vector.lanes // 8
        once = builder.module.add_metadata([ir.IntType(32)(1)])
        builder.store(elements, address, align=size).set_metadata("nontemporal", once)
        return context.get_dummy_value()

    return signature(types.void, p, i, vector), lower


@intrinsic
def fence(typing_context):
    """What was stored before is seen before what is stored after."""

    def lower(context, builder, sig, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return signature(types.void), lower


@intrinsic
def elements_to_vector(typing_context, p, z):
    """How many elements after p one lies at a multiple of the size of z's natural vector, stored in p.

    −1 if none does.
    """
    lanes, size = natural_vector(z.dtype).lanes, p.dtype.bitwidth // 8

    def lower(context, builder, sig, args):
        word = ir.IntType(64)
        address = builder.ptrtoint(args[0], word)
        n = builder.and_(builder.neg(builder.udiv(address, word(size))), word(lanes - 1))
        is_aligned = builder.icmp_unsigned("==", builder.and_(address, word(size - 1)), word(0))
        return builder.select(is_aligned, n, word(-1))

    return signature(types.int64, p, z), lower
