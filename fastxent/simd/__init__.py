"""Explicit SIMD for Numba: vectors as values in `@njit` code. Knows floats, not losses."""

from .addresses import advance, are_apart, in_pairs, pointer_as, row_offsets, row_pointer, skip
from .allocation import empty_bytes, empty_float64, empty_row
from .arithmetic import (
    all_at_most,
    bits,
    constant,
    fma,
    folded,
    from_bits,
    full_like,
    maximum,
    minimum,
    narrow,
    polynomial,
    positive_part,
    reduce_max,
    reduce_sum,
    to_float,
    vectors_of,
    where,
    widen,
)
from .elementary import (
    LN2_HIGH,
    LN2_LOW,
    below_overflow,
    exp,
    exp_of_reduced,
    exp_scaled,
    leading_power,
    reduced_for_exp,
    round_to_integer,
    soft_capped,
    tanh,
    two_to_minus,
)
from .lanes import (
    WIDTH,
    broadcast,
    first_lanes,
    lanes_of,
    only_lane,
    pair,
    vector_a_lane,
    wide,
    widest,
    width,
)
from .logarithms import log, log1p, log1p_of_fraction, power
from .memory import gather, get, load, load_masked, pointer, put, scatter, store, store_masked
from .storage import arithmetic_type, bfloat16, float16, storage_type
from .streaming import elements_to_line, fence, prefetch, store_past_caches
from .subnormals import flush_subnormals, restore_subnormals, without_subnormals
from .transpose import load_four, store_four
from .vector import VECTOR_BYTES, Vector, has_long_registers
