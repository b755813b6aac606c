"""Four neighbouring elements of each of many rows, to and from four vectors with one row a lane.

Several times as quick as a gather or scatter for each vector: a row's four elements are read or written
at once, and the exchange between rows takes two shuffles a vector.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .memory import element_vector, loaded_vector, optional_z
from .storage import from_storage, to_storage
from .vector import as_it_is

_INDEX = types.int64
_WIDTH = 4


def _shuffle(builder, a, b, index):
    vector = ir.VectorType(ir.IntType(32), len(index))
    return builder.shuffle_vector(a, b, ir.Constant(vector, index))


def _joined(builder, pieces):
    """LLVM: the pieces one after the other; their number is a power of two."""
    while len(pieces) > 1:
        size = 2 * pieces[0].type.count
        pieces = [
            _shuffle(builder, a, b, list(range(size))) for a, b in zip(pieces[::2], pieces[1::2], strict=True)
        ]
    return pieces[0]


def _transposed(builder, vectors):
    """LLVM: every 4×4 of the four vectors' k-th fours, transposed; the same again undoes it."""
    a, b, c, d = vectors
    lanes = a.type.count

    def interleaved(x, y, order):
        fours = range(0, lanes, _WIDTH)
        return _shuffle(builder, x, y, [four + i + lanes * of_y for four in fours for i, of_y in order])

    low, high = ((0, 0), (0, 1), (1, 0), (1, 1)), ((2, 0), (2, 1), (3, 0), (3, 1))
    first, last = ((0, 0), (1, 0), (0, 1), (1, 1)), ((2, 0), (3, 0), (2, 1), (3, 1))
    low_ab, low_cd = interleaved(a, b, low), interleaved(c, d, low)
    high_ab, high_cd = interleaved(a, b, high), interleaved(c, d, high)
    return (
        interleaved(low_ab, low_cd, first),
        interleaved(low_ab, low_cd, last),
        interleaved(high_ab, high_cd, first),
        interleaved(high_ab, high_cd, last),
    )


def _four_of_row(builder, base, stride, n_rows, row, four):
    """LLVM: the address of the first four elements of a row; beyond the last, of that."""
    number, last = n_rows.type(row), builder.sub(n_rows, n_rows.type(1))
    offset = builder.mul(stride, builder.select(builder.icmp_signed("<", number, last), number, last))
    return builder.bitcast(cgutils.pointer_add(builder, base, offset), four.as_pointer())


@intrinsic
def load_four(typing_context, p, stride, n_rows, z=None):
    """Vectors of p[0] to p[3] of so many rows, `stride` bytes apart; other lanes have those of the last."""
    vector = loaded_vector(p, z)
    if vector is None:
        return None

    def lower(context, builder, sig, args):
        step, n = (context.cast(builder, a, t, _INDEX) for a, t in ((args[1], stride), (args[2], n_rows)))
        four = element_vector(context, p, _WIDTH)
        fours = [
            builder.load(_four_of_row(builder, args[0], step, n, row, four), align=1)
            for row in range(vector.lanes)
        ]
        columns = _transposed(builder, [_joined(builder, fours[i::_WIDTH]) for i in range(_WIDTH)])
        values = [from_storage(context, builder, column, p.dtype, vector.dtype) for column in columns]
        return context.make_tuple(builder, sig.return_type, values)

    return signature(types.UniTuple(vector, _WIDTH), p, stride, n_rows, optional_z(z)), lower


@intrinsic
def store_four(typing_context, p, stride, n_rows, vectors):
    """The inverse of `load_four`: four vectors to p[0], p[1], p[2] and p[3] of the first lanes' rows."""
    dtype, lanes = vectors.dtype.dtype, vectors.dtype.lanes

    def lower(context, builder, sig, args):
        step, n = (context.cast(builder, a, t, _INDEX) for a, t in ((args[1], stride), (args[2], n_rows)))
        four = element_vector(context, p, _WIDTH)
        columns = [
            to_storage(context, builder, vector, dtype, p.dtype)
            for vector in cgutils.unpack_tuple(builder, args[3])
        ]
        rows = _transposed(builder, columns)
        if p.dtype == dtype:
            # Each piece is stored from the whole, and not put together by four shuffles of its own.
            rows = [as_it_is(builder, joined) for joined in rows]
        # Backwards: what is beyond the last row goes there before what belongs there.
        for row in reversed(range(lanes)):
            joined, first = rows[row % _WIDTH], row // _WIDTH * _WIDTH
            piece = _shuffle(builder, joined, joined, list(range(first, first + _WIDTH)))
            builder.store(piece, _four_of_row(builder, args[0], step, n, row, four), align=1)
        return context.get_dummy_value()

    return signature(types.void, p, stride, n_rows, vectors), lower
