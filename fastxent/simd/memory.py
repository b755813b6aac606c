"""Vectors to and from memory.

A kernel takes the address of a row with `pointer` and counts elements from there; nothing is checked,
so a masked access is how a kernel stays inside its row. No alignment is assumed anywhere.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .vector import Mask, Vector, as_type, natural_vector, splat

_INDEX = types.intp


@intrinsic
def pointer(typing_context, array, i):
    """The address of array[i], the first element of row i for a 2-D array, whatever its strides."""
    result = types.CPointer(array.dtype)

    def lower(context, builder, sig, args):
        view = context.make_array(array)(context, builder, args[0])
        stride = builder.extract_value(view.strides, 0)
        index = context.cast(builder, args[1], i, _INDEX)
        return cgutils.pointer_add(builder, view.data, builder.mul(index, stride))

    return signature(result, array, i), lower


@intrinsic(prefer_literal=True)
def stack_array(typing_context, like, size):
    """The address of `size` elements on the stack, uninitialised; size is a constant of the program."""
    if not isinstance(size, types.IntegerLiteral):
        return None

    def lower(context, builder, sig, args):
        with builder.goto_entry_block():
            return builder.alloca(context.get_value_type(like.dtype), size=ir.IntType(64)(size.literal_value))

    return signature(types.CPointer(like.dtype), like, size), lower


@intrinsic
def lanes_of(typing_context, z):
    """How many lanes the natural vector of z's dtype has; z is a pointer or an array."""
    lanes = natural_vector(z.dtype).lanes

    def lower(context, builder, sig, args):
        return context.get_constant(_INDEX, lanes)

    return signature(_INDEX, z), lower


@intrinsic
def broadcast(typing_context, scalar, z):
    """The scalar in every lane of the natural vector of z's dtype."""
    result = natural_vector(z.dtype)

    def lower(context, builder, sig, args):
        return as_type(context, builder, args[0], scalar, result)

    return signature(result, scalar, z), lower


def _lanes_that_are(symbol, n, z):
    """The definition of an intrinsic: the mask of the lanes whose number stands in this relation to n."""
    lanes = natural_vector(z.dtype).lanes

    def lower(context, builder, sig, args):
        numbers = ir.VectorType(ir.IntType(64), lanes)
        limit = splat(builder, context.cast(builder, args[0], n, types.int64), numbers)
        return builder.icmp_signed(symbol, numbers(list(range(lanes))), limit)

    return signature(Mask(lanes), n, z), lower


@intrinsic
def first_lanes(typing_context, n, z):
    """The mask whose first n lanes are true, for the natural vector of z's dtype."""
    return _lanes_that_are("<", n, z)


@intrinsic
def only_lane(typing_context, n, z):
    """The mask with lane n alone true, for the natural vector of z's dtype."""
    return _lanes_that_are("==", n, z)


def _address(context, builder, base, index, index_type, llvm_type):
    offset = context.cast(builder, index, index_type, _INDEX)
    return builder.bitcast(builder.gep(base, [offset]), llvm_type.as_pointer())


def _vector_name(vector):
    letter = "f" if isinstance(vector.dtype, types.Float) else "i"
    return f"v{vector.lanes}{letter}{vector.dtype.bitwidth}"


def _call_masked(context, builder, name, result, arguments):
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


@intrinsic
def load(typing_context, z, i):
    """The vector z[i], z[i+1], ..."""
    vector = natural_vector(z.dtype)

    def lower(context, builder, sig, args):
        address = _address(context, builder, *args, i, context.get_value_type(vector))
        return builder.load(address, align=1)

    return signature(vector, z, i), lower


@intrinsic
def store(typing_context, z, i, vector):
    """z[i], z[i+1], ... = vector"""

    def lower(context, builder, sig, args):
        address = _address(context, builder, args[0], args[1], i, args[2].type)
        builder.store(args[2], address, align=1)
        return context.get_dummy_value()

    return signature(types.void, z, i, vector), lower


@intrinsic
def put(typing_context, z, i, scalar):
    """z[i] = scalar, rounded to the dtype of z.

    Plain `z[i] = scalar` on a pointer is dropped as dead code inside a parallel loop.
    """

    def lower(context, builder, sig, args):
        value = context.cast(builder, args[2], scalar, z.dtype)
        address = _address(context, builder, args[0], args[1], i, context.get_value_type(z.dtype))
        builder.store(value, address, align=1)
        return context.get_dummy_value()

    return signature(types.void, z, i, scalar), lower


@intrinsic
def load_masked(typing_context, z, i, mask, fill):
    """The lanes of z[i], z[i+1], ... where the mask is true and `fill` elsewhere, which is not read."""
    vector = Vector(z.dtype, mask.lanes)

    def lower(context, builder, sig, args):
        llvm_type = context.get_value_type(vector)
        address = _address(context, builder, args[0], args[1], i, llvm_type)
        filler = as_type(context, builder, args[3], fill, vector)
        name = f"llvm.masked.load.{_vector_name(vector)}.p0"
        return _call_masked(context, builder, name, llvm_type, [address, ir.IntType(32)(1), args[2], filler])

    return signature(vector, z, i, mask, fill), lower


@intrinsic
def store_masked(typing_context, z, i, vector, mask):
    """Store the lanes where the mask is true; the others are not written."""

    def lower(context, builder, sig, args):
        address = _address(context, builder, args[0], args[1], i, args[2].type)
        name = f"llvm.masked.store.{_vector_name(vector)}.p0"
        _call_masked(context, builder, name, ir.VoidType(), [args[2], address, ir.IntType(32)(1), args[3]])
        return context.get_dummy_value()

    return signature(types.void, z, i, vector, mask), lower


def _strided_addresses(context, builder, base, start, stride, lanes):
    numbers = ir.VectorType(ir.IntType(64), lanes)
    offsets = builder.mul(numbers(list(range(lanes))), splat(builder, stride, numbers))
    byte = ir.IntType(8)
    first = cgutils.pointer_add(builder, builder.bitcast(base, byte.as_pointer()), start)
    bases = splat(builder, first, ir.VectorType(byte.as_pointer(), lanes))
    return builder.gep(bases, [offsets], source_etype=byte)


@intrinsic
def gather(typing_context, z, start, stride, mask, fill):
    """Lane l from `start` + l·`stride` bytes after z, where the mask is true; `fill` elsewhere, unread."""
    vector = Vector(z.dtype, mask.lanes)

    def lower(context, builder, sig, args):
        base, first, step, chosen, filler = args
        llvm_type = context.get_value_type(vector)
        addresses = _strided_addresses(context, builder, base, first, step, vector.lanes)
        filler = as_type(context, builder, filler, fill, vector)
        name = f"llvm.masked.gather.{_vector_name(vector)}.v{vector.lanes}p0"
        return _call_masked(context, builder, name, llvm_type, [addresses, ir.IntType(32)(1), chosen, filler])

    return signature(vector, z, types.int64, types.int64, mask, fill), lower


@intrinsic
def scatter(typing_context, z, start, stride, vector, mask):
    """Store lane l at `start` + l·`stride` bytes after z, where the mask is true."""

    def lower(context, builder, sig, args):
        base, first, step, values, chosen = args
        addresses = _strided_addresses(context, builder, base, first, step, vector.lanes)
        name = f"llvm.masked.scatter.{_vector_name(vector)}.v{vector.lanes}p0"
        _call_masked(context, builder, name, ir.VoidType(), [values, addresses, ir.IntType(32)(1), chosen])
        return context.get_dummy_value()

    return signature(types.void, z, types.int64, types.int64, vector, mask), lower
