"""What there is one of for each row, with one row a lane."""

from typing import Any, NamedTuple

from ..simd import broadcast, has_long_registers, in_pairs, load_masked, store_masked, where, widen
from .compile import formula, specialised_formula
from .strided import address


class RowOutputs(NamedTuple):
    """Where to put one number a row, as addresses, of which any may be None."""

    loss: Any
    lse: Any
    lse_low: Any
    entropy: Any
    rank: Any


@formula
def row_outputs(loss, lse, lse_low, options):
    return RowOutputs(*map(address, (loss, lse, lse_low, options.entropy, options.rank)))


@specialised_formula
def long_tile_at(p):
    """The address p as that of a tile whose vectors fill two registers, where these are long.

    A row is a chain: while one register of rows waits the other works. A few rows would fill but one.
    """
    return (lambda p: in_pairs(p)) if has_long_registers() else (lambda p: p)


@formula
def get_lanes(vector, otherwise, start, inside, z):
    """Float64 in the lanes from `start`."""
    return widen(broadcast(otherwise, z)) if vector is None else load_masked(vector, start, inside, 0.0)


@formula
def set_lanes(vector, start, inside, x):
    if vector is not None:
        store_masked(vector, start, x, inside)


@formula
def set_row_lanes(outputs, start, inside, kept, s, outcome, above, n_classes):
    """The results of rows; those of rows not kept are 0, and all of their classes above."""
    set_lanes(outputs.loss, start, inside, where(kept, s * outcome.loss, 0.0))
    set_lanes(outputs.lse, start, inside, where(kept, outcome.lse, 0.0))
    set_lanes(outputs.lse_low, start, inside, where(kept, outcome.lse_low, 0.0))
    set_lanes(outputs.entropy, start, inside, where(kept, outcome.entropy, 0.0))
    set_lanes(outputs.rank, start, inside, where(kept, above, n_classes))
