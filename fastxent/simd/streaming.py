"""What keeps memory busy: stores past the caches, and elements asked for before they are needed.

What is written once and not soon read need not be read from memory to be written. Processors foresee
what will be read next in a row, but not past the end of a page of memory, 4 KiB.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .memory import element_address
from .storage import converts, to_storage
from .vector import vector_of

LINE = 64
"""Bytes that come from memory at once."""

_TO_READ, _SECOND_LEVEL, _DATA = 0, 2, 1
"""Arguments of LLVM's prefetch."""


@intrinsic
def store_past_caches(typing_context, p, i, vector):
    """p[i], p[i+1], ... = vector, where p[i] is at a multiple of a line; seen by others after a `fence`."""
    if not converts(p.dtype, vector.dtype):
        return None

    def lower(context, builder, sig, args):
        elements = to_storage(context, builder, args[2], vector.dtype, p.dtype)
        address = element_address(context, builder, args[0], args[1], i, elements.type)
        once = builder.module.add_metadata([ir.IntType(32)(1)])
        builder.store(elements, address, align=LINE).set_metadata("nontemporal", once)
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
def prefetch(typing_context, p, i, z):
    """Has what `load` would take from p[i] on its way into the caches; nothing if it is nobody's memory."""
    n_bytes = p.dtype.bitwidth * vector_of(z).lanes // 8

    def lower(context, builder, sig, args):
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        ask = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        first = element_address(context, builder, args[0], args[1], i, ir.IntType(8))
        for line in range(0, n_bytes, LINE):
            address = builder.gep(first, [ir.IntType(64)(line)])
            builder.call(ask, [address, word(_TO_READ), word(_SECOND_LEVEL), word(_DATA)])
        return context.get_dummy_value()

    return signature(types.void, p, i, z), lower


@intrinsic
def elements_to_line(typing_context, p):
    """How many elements after p one lies at a multiple of a line; −1 if none does."""
    size = p.dtype.bitwidth // 8

    def lower(context, builder, sig, args):
        word = ir.IntType(64)
        address = builder.ptrtoint(args[0], word)
        n = builder.and_(builder.neg(builder.udiv(address, word(size))), word(LINE // size - 1))
        is_aligned = builder.icmp_unsigned("==", builder.and_(address, word(size - 1)), word(0))
        return builder.select(is_aligned, n, word(-1))

    return signature(types.int64, p), lower
