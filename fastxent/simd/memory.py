"""Vectors to and from memory.

A kernel takes the address of a row with `pointer` and counts elements from there; nothing is checked,
so a masked access is how a kernel stays inside its row. No alignment is assumed anywhere.

A vector is one like z's: z is a pointer or an array, whose vector is one of the natural length, or a
vector itself. Loads give one like p's, or z's if that is given last; stores round once, to the nearest,
to what p's elements are. `storage` says how.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .storage import Half, arithmetic_type, converts, from_storage, to_storage
from .vector import Vector, as_it_is, as_type, splat, vector_of

_INDEX = types.intp


@intrinsic
def pointer(typing_context, array):
    """The address of an array's first element."""
    result = types.CPointer(array.dtype)

    def lower(context, builder, sig, args):
        return context.make_array(array)(context, builder, args[0]).data

    return signature(result, array), lower


def element_address(context, builder, base, index, index_type, llvm_type):
    """LLVM: the address of base[index], as one of this type."""
    offset = context.cast(builder, index, index_type, _INDEX)
    return builder.bitcast(builder.gep(base, [offset]), llvm_type.as_pointer())


def loaded_vector(p, z, lanes=None):
    """The vector that loads from p give, of so many lanes or those of z; None if z's is no float."""
    vector = vector_of(p if z is None else z)
    return Vector(vector.dtype, lanes or vector.lanes) if converts(p.dtype, vector.dtype) else None


def optional_z(z):
    return types.Omitted(None) if z is None else z


def element_vector(context, p, lanes):
    """LLVM: the type of so many elements as p has them in memory."""
    return ir.VectorType(context.get_value_type(p.dtype), lanes)


def _call_masked(builder, operation, p, lanes, result, arguments):
    letter = "f" if isinstance(p.dtype, types.Float) else "i"
    addresses = f"v{lanes}p0" if operation in ("gather", "scatter") else "p0"
    name = f"llvm.masked.{operation}.v{lanes}{letter}{p.dtype.bitwidth}.{addresses}"
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def _read_masked(context, builder, operation, p, vector, where_from, mask, filler):
    """LLVM: what a masked load or gather gives, as the vector; the filler is one already."""
    elements = element_vector(context, p, vector.lanes)
    unread = filler if p.dtype == vector.dtype else ir.Constant(elements, ir.Undefined)
    arguments = [where_from, ir.IntType(32)(1), mask, unread]
    read = _call_masked(builder, operation, p, vector.lanes, elements, arguments)
    if p.dtype != vector.dtype:
        read = from_storage(context, builder, read, p.dtype, vector.dtype)
    if operation == "load" and isinstance(vector.dtype, types.Float):
        # Where what is computed from it is masked by the same mask, all lanes would otherwise be read, also
        # those that are nobody's memory.
        read = as_it_is(builder, read)
    return read if p.dtype == vector.dtype else builder.select(mask, read, filler)


@intrinsic
def load(typing_context, p, i, z=None):
    """The vector p[i], p[i+1], ..."""
    vector = loaded_vector(p, z)
    if vector is None:
        return None

    def lower(context, builder, sig, args):
        address = element_address(
            context, builder, args[0], args[1], i, element_vector(context, p, vector.lanes)
        )
        return from_storage(context, builder, builder.load(address, align=1), p.dtype, vector.dtype)

    return signature(vector, p, i, optional_z(z)), lower


@intrinsic
def store(typing_context, p, i, vector):
    """p[i], p[i+1], ... = vector"""
    if not converts(p.dtype, vector.dtype):
        return None

    def lower(context, builder, sig, args):
        elements = to_storage(context, builder, args[2], vector.dtype, p.dtype)
        address = element_address(context, builder, args[0], args[1], i, elements.type)
        builder.store(elements, address, align=1)
        return context.get_dummy_value()

    return signature(types.void, p, i, vector), lower


@intrinsic
def get(typing_context, p, i):
    """p[i] as a float64."""
    dtype = arithmetic_type(p.dtype)

    def lower(context, builder, sig, args):
        address = element_address(context, builder, args[0], args[1], i, context.get_value_type(p.dtype))
        number = from_storage(context, builder, builder.load(address, align=1), p.dtype, dtype)
        return context.cast(builder, number, dtype, types.float64)

    return signature(types.float64, p, i), lower


@intrinsic
def put(typing_context, p, i, scalar):
    """p[i] = scalar, rounded to the dtype of p.

    Plain `p[i] = scalar` on a pointer is dropped as dead code inside a parallel loop.
    """
    dtype = types.float64 if isinstance(p.dtype, Half) else p.dtype

    def lower(context, builder, sig, args):
        value = context.cast(builder, args[2], scalar, dtype)
        element = to_storage(context, builder, value, dtype, p.dtype)
        address = element_address(context, builder, args[0], args[1], i, element.type)
        builder.store(element, address, align=1)
        return context.get_dummy_value()

    return signature(types.void, p, i, scalar), lower


@intrinsic
def load_masked(typing_context, p, i, mask, fill, z=None):
    """The lanes of p[i], p[i+1], ... where the mask is true and `fill` elsewhere, which is not read."""
    vector = loaded_vector(p, z, mask.lanes)
    if vector is None:
        return None

    def lower(context, builder, sig, args):
        address = element_address(
            context, builder, args[0], args[1], i, element_vector(context, p, vector.lanes)
        )
        filler = as_type(context, builder, args[3], fill, vector)
        return _read_masked(context, builder, "load", p, vector, address, args[2], filler)

    return signature(vector, p, i, mask, fill, optional_z(z)), lower


@intrinsic
def store_masked(typing_context, p, i, vector, mask):
    """Store the lanes where the mask is true; the others are not written.

    If that is all it is a plain store, which takes a twentieth of the time on AMD's processors before Zen 4.
    """
    if not converts(p.dtype, vector.dtype):
        return None

    def lower(context, builder, sig, args):
        elements = to_storage(context, builder, args[2], vector.dtype, p.dtype)
        address = element_address(context, builder, args[0], args[1], i, elements.type)
        lanes = builder.bitcast(args[3], ir.IntType(vector.lanes))
        with builder.if_else(builder.icmp_signed("==", lanes, lanes.type(-1))) as (are_all, are_some):
            with are_all:
                builder.store(elements, address, align=1)
            with are_some:
                arguments = [elements, address, ir.IntType(32)(1), args[3]]
                _call_masked(builder, "store", p, vector.lanes, ir.VoidType(), arguments)
        return context.get_dummy_value()

    return signature(types.void, p, i, vector, mask), lower


def _addresses(builder, base, start, offsets):
    byte = ir.IntType(8)
    first = cgutils.pointer_add(builder, builder.bitcast(base, byte.as_pointer()), start)
    bases = splat(builder, first, ir.VectorType(byte.as_pointer(), offsets.type.count))
    return builder.gep(bases, [offsets], source_etype=byte)


@intrinsic
def gather(typing_context, p, start, offsets, mask, fill, z=None):
    """Each lane from `start` + its offset bytes after p where the mask is true, `fill` elsewhere, unread."""
    vector = loaded_vector(p, z, mask.lanes)
    if vector is None:
        return None

    def lower(context, builder, sig, args):
        base, first, steps, chosen, filler = args[:5]
        addresses = _addresses(builder, base, first, steps)
        filler = as_type(context, builder, filler, fill, vector)
        return _read_masked(context, builder, "gather", p, vector, addresses, chosen, filler)

    return signature(vector, p, types.int64, offsets, mask, fill, optional_z(z)), lower


@intrinsic
def scatter(typing_context, p, start, offsets, vector, mask):
    """Store each lane at `start` + its offset bytes after p, where the mask is true."""
    if not converts(p.dtype, vector.dtype):
        return None

    def lower(context, builder, sig, args):
        base, first, steps, values, chosen = args
        addresses = _addresses(builder, base, first, steps)
        elements = to_storage(context, builder, values, vector.dtype, p.dtype)
        arguments = [elements, addresses, ir.IntType(32)(1), chosen]
        _call_masked(builder, "scatter", p, vector.lanes, ir.VoidType(), arguments)
        return context.get_dummy_value()

    return signature(types.void, p, types.int64, offsets, vector, mask), lower
