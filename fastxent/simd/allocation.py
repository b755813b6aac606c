"""New arrays of one axis, uninitialised: what kernels work in.

`np.empty` does the same, but Numba compiles two functions for each type of array that it makes.
"""

from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .storage import arithmetic_type
from .vector import VECTOR_BYTES


def _new_array(dtype, n, *others):
    """The definition of an intrinsic: an array of n numbers, or a MemoryError."""
    from numba.np.arrayobj import populate_array  # which importing fastxent is not to wait for

    array = types.Array(dtype, 1, "C")

    def lower(context, builder, sig, args):
        count = context.cast(builder, args[0], n, types.intp)
        data = context.get_data_type(dtype)
        item_size = context.get_constant(types.intp, context.get_abi_sizeof(data))
        size = builder.mul(count, item_size)
        owner = context.nrt.meminfo_alloc_aligned(builder, size, VECTOR_BYTES)
        view = context.make_array(array)(context, builder)
        address = builder.bitcast(context.nrt.meminfo_data(builder, owner), data.as_pointer())
        populate_array(view, address, [count], [item_size], item_size, owner)
        return view._getvalue()

    return signature(array, n, *others), lower


@intrinsic
def empty_row(typing_context, n, z):
    """Of the dtype that what the pointer or array z holds is computed in."""
    return _new_array(arithmetic_type(z.dtype), n, z)


@intrinsic
def empty_float64(typing_context, n):
    return _new_array(types.float64, n)


@intrinsic
def empty_bytes(typing_context, n):
    return _new_array(types.uint8, n)
