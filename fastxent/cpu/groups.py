"""Sums over the classes of rows one a lane, to the bits of a row whose classes go across the lanes.

Classes j, j + lanes, j + 2·lanes ... share a lane there. Here each such group has a vector of its own, with
one row a lane, and the groups are folded as lanes are.
"""

from ..simd import broadcast, folded, lanes_of, load, store, vector_a_lane, widen
from .compile import formula, inline
from .vectors import load_float64


@inline
def clear_groups(groups, z):
    """Float64 numbers, in one vector a group."""
    for group in range(lanes_of(z)):
        store(groups, group * lanes_of(z), widen(broadcast(0.0, z)))


@formula
def add_to_group(groups, j, term, z):
    """What class j adds."""
    at = j % lanes_of(z) * lanes_of(z)
    store(groups, at, load_float64(groups, at, z) + term)


@formula
def sum_of_groups(groups, z):
    """The upper half is added to the lower until one vector is left."""
    return folded(load(groups, 0, widen(vector_a_lane(z))), z)
