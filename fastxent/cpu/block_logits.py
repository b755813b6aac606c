"""The logits of a block as they are computed with, and the largest of them.

Logits of fewer bits than they are computed in are converted, and those that options transform are
transformed, a block at a time into a copy: each of two short loops has more at work at once than one long
loop.
"""

import math
from typing import Any, NamedTuple

from ..simd import (
    broadcast,
    first_lanes,
    has_long_registers,
    lanes_of,
    load,
    maximum,
    reduce_max,
    store,
    where,
    wide,
)
from .compile import formula, inline, specialised_formula
from .options import PLAIN, transformed
from .shape import block_length, end_of_block
from .shift import less_offset
from .vectors import full_vectors_end, load_logits


class Stretch(NamedTuple):
    """Where the logits of a block are: logit j at j − origin."""

    start: Any
    origin: int
    is_padded: Any = None  # True if whole wide vectors are there, −inf beyond the row; or else None


@formula
def load_stretch(stretch, j, inside, like):
    inside = None if stretch.is_padded is not None else inside
    return load_logits(stretch.start, j - stretch.origin, inside, like)


@formula
def _copy_vector(copy, i, given, options):
    if copy is not None:
        store(copy, i, transformed(given, options))


@specialised_formula
def _vector_for(z, softcap):
    """A wide vector, unless softcap's polynomial needs more registers than there are."""
    is_wide = softcap is None or has_long_registers()
    return (lambda z, softcap: wide(z)) if is_wide else (lambda z, softcap: broadcast(0.0, z))


@inline
def _largest(copy, z, start, n_classes, options):
    """The largest logit of the block at `start`, as given; into the copy, if any, go all as computed with."""
    like, stop = _vector_for(z, options.softcap), end_of_block(start, n_classes, z)
    block_max, full = broadcast(-math.inf, like), full_vectors_end(like, start, stop)
    for j in range(start, full, lanes_of(like)):
        given = load(z, j, like)
        block_max = maximum(given, block_max)
        _copy_vector(copy, j - start, given, options)
    for j in range(full, stop, lanes_of(like)):
        given = load_logits(z, j, first_lanes(stop - j, like), like)
        block_max = maximum(given, block_max)
        _copy_vector(copy, j - start, given, options)
    return float(reduce_max(block_max))


@inline
def largest_other(z, y, z_y, start, stop, block_max):
    """The largest logit of a block but the target's, as given, if that is the largest of all."""
    if start <= y < stop and z_y == block_max:
        before, after = _largest(None, z, start, y, PLAIN), _largest(None, z, y + 1, stop, PLAIN)
        block_max = max(before, after)
    return block_max


@formula
def block_at(copy, z, start, n_classes, options):
    """Where the logits of the block at `start` are, as they are computed with, and the largest as given.

    That is in the copy, or as given if it is None.
    """
    block_max = _largest(copy, z, start, n_classes, options)
    return (Stretch(z, 0) if copy is None else Stretch(copy, start)), block_max


@inline
def _known_or_found(block_max, z, start, n_classes):
    # A literal 0 in place of `start` would have Numba compile `_largest` for it alone.
    return block_max if block_max == block_max else _largest(None, z, start, n_classes, PLAIN)


@formula
def first_block(copy, z, n_classes, block_max, options):
    """As `block_at` for the row's first block, whose largest logit may be known; NaN if it is not."""
    if copy is None:
        return Stretch(z, 0), _known_or_found(block_max, z, 0, n_classes)
    return block_at(copy, z, 0, n_classes, options)


@formula
def _unseen(row, start, n_classes, like):
    """Of the block at `start`, or the first of the row ahead, the logits that were not seen on the way."""
    z, block = row.logits, block_length(row.logits)
    if row.ahead is None:
        return z, start, n_classes
    is_ahead, seen = start >= n_classes, full_vectors_end(like, start - block, n_classes) - (start - block)
    return (
        where(is_ahead, row.ahead, z),
        where(is_ahead, seen, start),
        where(is_ahead, min(block, n_classes), n_classes),
    )


@inline
def _largest_after(row, start, n_classes, ahead):
    """From what was found on the way and, where that was not all of the block, the rest."""
    found = float(reduce_max(ahead))
    if start + lanes_of(ahead) > n_classes:
        z, first, stop = _unseen(row, start, n_classes, ahead)
        rest = _largest(None, z, first, stop, PLAIN)
        # What was found before the row's end has logits of other blocks among it.
        found = found if start >= n_classes and found > rest else rest
    return found


@formula
def block_after(copy, row, start, n_classes, ahead, options):
    """As `block_at`, for the block after one that was summed, on the way through which `ahead` was found.

    After the last it is the first of the row ahead, of which only the largest is known, and not of copies.
    """
    if copy is None:
        return Stretch(row.logits, 0), _largest_after(row, start, n_classes, ahead)
    return block_at(copy, row.logits, start, n_classes, options)


@inline
def centred_logits(copy, logits, start, stop, shift):
    """The logits less their offset, which is 0 unless they are large or +inf."""
    if shift.offset == 0.0:
        return logits
    for j in range(start, stop, lanes_of(copy)):
        far = load_stretch(logits, j, first_lanes(stop - j, copy), copy)
        store(copy, j - start, less_offset(far, shift))
    return Stretch(copy, start, logits.is_padded)
