"""The vectors of a row: whole ones, for which `inside` is None, and one that its end cuts off.

Where there is a parameter `like`, it is a vector of the dtype and length in which elements are wanted.
"""

import math

from ..simd import (
    broadcast,
    first_lanes,
    lanes_of,
    load,
    load_masked,
    maximum,
    store,
    store_masked,
    store_past_caches,
    vectors_of,
)
from .compile import formula, inline


@formula
def full_vectors_end(z, start, stop):
    return stop - (stop - start) % lanes_of(z)


@formula
def largest_parts(top, z):
    """A vector of maxima as one with the lanes of z."""
    first, *others = vectors_of(top, z)
    for part in others:
        first = maximum(part, first)
    return first


@formula
def load_inside(p, j, inside, z):
    """Vector j of p in the lanes of z, 0 where not inside; inside is None for a full vector."""
    return load(p, j, z) if inside is None else load_masked(p, j, inside, 0.0, z)


@formula
def load_logits(p, j, inside, z):
    """Vector j of the logits p, −inf where not inside."""
    return load(p, j, z) if inside is None else load_masked(p, j, inside, -math.inf, z)


@formula
def store_inside(p, j, vector, inside):
    if inside is None:
        store(p, j, vector)
    else:
        store_masked(p, j, vector, inside)


@inline
def store_full(p, j, vector, past_caches):
    if past_caches:
        store_past_caches(p, j, vector)
    else:
        store(p, j, vector)


@formula
def value_at(p, otherwise, j, inside, z):
    """Vector j of p, if there is one, in the lanes of z."""
    return broadcast(otherwise, z) if p is None else load_inside(p, j, inside, z)


@formula
def load_float64(p, i, z):
    """As many float64 as z has lanes."""
    return load_masked(p, i, first_lanes(lanes_of(z), z), 0.0)
