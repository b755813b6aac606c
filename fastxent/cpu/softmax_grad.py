"""The product of a gradient with softmax's Jacobian, p·(grad − Σ p·grad), the sum in float64."""

from numba import prange

from ..simd import (
    are_apart,
    broadcast,
    empty_float64,
    empty_row,
    fence,
    first_lanes,
    flush_subnormals,
    lanes_of,
    load,
    load_masked,
    prefetch,
    reduce_sum,
    restore_subnormals,
    store,
    store_masked,
    where,
    wide,
    widen,
)
from .columns import columns_at, read_all, write_all
from .compile import formula, inline, kernel
from .derivatives import high_and_low, minus
from .groups import add_to_group, clear_groups, sum_of_groups
from .shape import AHEAD, n_classes_of, n_rows_of, rows_of_chunk, tiled_rows_of_chunk
from .strided import MOST_THROUGH_CACHES, address, packed_rows, row_at, streams_of, to_read, to_write, written
from .vectors import full_vectors_end, store_full


@inline
def _dot_of_row(p, grad, n_classes):
    lanes = lanes_of(p)
    full = full_vectors_end(p, 0, n_classes)
    inside = first_lanes(n_classes - full, p)
    dots = widen(broadcast(0.0, p))
    for j in range(0, full, lanes):
        prefetch(p, j + AHEAD * lanes, p)
        prefetch(grad, j + AHEAD * lanes, p)
        dots += widen(load(p, j)) * widen(load(grad, j))
    if full < n_classes:
        dots += widen(load_masked(p, full, inside, 0.0)) * widen(load_masked(grad, full, inside, 0.0))
    return reduce_sum(dots)


@inline
def _put_row(p, grad, n_classes, dot, out, lead, past_caches):
    like, dot_high_low = wide(p), high_and_low(dot, p)
    full = full_vectors_end(like, lead, n_classes)
    for edge in range(2):
        start, stop = (0, lead) if edge == 0 else (full, n_classes)
        for j in range(start, stop, lanes_of(p)):
            inside = first_lanes(stop - j, p)
            centred = minus(load_masked(grad, j, inside, 0.0), dot_high_low)
            store_masked(out, j, load_masked(p, j, inside, 0.0) * centred, inside)
    for j in range(lead, full, lanes_of(like)):
        store_full(out, j, load(p, j, like) * minus(load(grad, j, like), dot_high_low), past_caches)


@formula
def _row(probs, grad, result):
    p, g, n_classes = to_read(probs), to_read(grad), probs.n_classes
    streams = streams_of(probs, result, None, None)
    past_caches = streams.grad & are_apart(grad.start, result.start) & (n_classes > MOST_THROUGH_CACHES)
    lead = where(n_classes > MOST_THROUGH_CACHES, streams.lead, 0)
    _put_row(p, g, n_classes, _dot_of_row(p, g, n_classes), to_write(result), lead, past_caches)
    written(result, n_classes)


@inline
def _rows(probs, grad, out, rows):
    packed_probs, packed_grad, packed_out = packed_rows(probs, 1), packed_rows(grad, 1), packed_rows(out, 1)
    control = flush_subnormals()
    for i in range(rows[0], rows[1]):
        _row(
            row_at(probs, i, packed_probs, 0), row_at(grad, i, packed_grad, 0), row_at(out, i, packed_out, 0)
        )
    restore_subnormals(control)
    fence()


@kernel("out")
def softmax_grad_rows(n_chunks, probs, grad, out):
    """p_j·(grad_j − Σ_k p_k·grad_k) of each row, in out, which may be either of the others."""
    for chunk in prange(n_chunks):
        _rows(probs, grad, out, rows_of_chunk(chunk, n_chunks, n_rows_of(probs)))


@inline
def _dot(p, grad, n_classes, groups):
    """Σ p·grad of every row, summed as by `_dot_of_row`."""
    lanes = lanes_of(p)
    clear_groups(groups, p)
    for j in range(n_classes):
        add_to_group(groups, j, widen(load(p, j * lanes)) * widen(load(grad, j * lanes)), p)
    return sum_of_groups(groups, p)


@inline
def _tile(probs, grad, out, n_classes, inside, p, g, groups):
    lanes = lanes_of(p)
    read_all(probs, n_classes, inside, p)
    read_all(grad, n_classes, inside, g)
    dot = high_and_low(_dot(p, g, n_classes, groups), p)
    for j in range(0, n_classes * lanes, lanes):
        store(p, j, load(p, j) * minus(load(g, j), dot))
    write_all(out, n_classes, inside, p)


@inline
def _tiles(probs, grad, out, rows):
    lanes, n_classes = lanes_of(probs), n_classes_of(probs)
    p, g = empty_row(lanes * n_classes, probs), empty_row(lanes * n_classes, probs)
    groups, control = empty_float64(lanes * lanes), flush_subnormals()
    for start in range(rows[0], rows[1], lanes):
        n_lanes, z = min(lanes, rows[1] - start), address(p)
        _tile(
            columns_at(probs, start, n_lanes, z, None),
            columns_at(grad, start, n_lanes, z, None),
            columns_at(out, start, n_lanes, z, None),
            n_classes,
            first_lanes(n_lanes, z),
            z,
            address(g),
            address(groups),
        )
    restore_subnormals(control)


@kernel("out")
def softmax_grad_lanes(n_chunks, probs, grad, out):
    """As `softmax_grad_rows`, to the bit, one row a lane: for few classes, or such as are far apart."""
    for chunk in prange(n_chunks):
        _tiles(probs, grad, out, tiled_rows_of_chunk(chunk, n_chunks, probs))
