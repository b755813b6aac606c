"""exp and tanh of a vector's lanes, or of one float64, and the constants of all elementary functions.

Each function below is a name with its contract; the implementation under it is compiled into the
kernel that calls it, with the constants of the argument's dtype. `python tests/simd/derive_coefficients.py`
derives and prints every constant; the tests beside that measure the errors stated here.
"""

import math
from typing import NamedTuple

from numba.core import types

from .arithmetic import all_at_most, bits, constant, fma, from_bits, maximum, minimum, polynomial, where
from .formula import formula, specialised_formula
from .inlining import inline
from .vector import Vector


class _Constants(NamedTuple):
    mantissa_bits: int
    bias: int  # of the exponent field
    ln2_high: float
    ln2_low: float
    exp: tuple[float, ...]
    log: tuple[float, ...]
    log1p: tuple[float, ...]  # the same series, for 1 + x up to 2
    tanh: tuple[float, ...]
    tanh_near_0: tuple[float, ...]  # of float64 there is none


LN2_HIGH, LN2_LOW = 0.6931471805601177, -1.7239444525614835e-13
"""log 2 in float64, a number that small integers can be multiplied by exactly, and the rest."""

_FLOAT32 = _Constants(
    mantissa_bits=23,
    bias=127,
    ln2_high=0.693115234375,
    ln2_low=3.19461849e-5,
    exp=(1.0, 1.0, 0.499999934, 0.166665204, 0.0416683908, 0.00836874511, 0.00138145402),
    log=(0.666666656, 0.400003362, 0.285372383, 0.235835693),
    log1p=(0.66666412, 0.400217699, 0.279978633, 0.280312755),
    tanh=(1.0000017, 0.666594347, 0.334318433, 0.127569791, 0.0592984296),
    tanh_near_0=(1.0, -0.333331436, 0.133258707, -0.0530448293, 0.0172399122),
)
_FLOAT64 = _Constants(
    mantissa_bits=52,
    bias=1023,
    ln2_high=LN2_HIGH,
    ln2_low=LN2_LOW,
    exp=(
        1.0,
        1.0,
        0.50000000000000107,
        0.16666666666666412,
        0.041666666666529728,
        0.0083333333334949773,
        0.0013888888943759983,
        0.00019841269505773813,
        2.4801492949618072e-5,
        2.7557586803843391e-6,
        2.7630306255321585e-7,
        2.5000018853790675e-8,
    ),
    log=(
        0.66666666666667349,
        0.39999999999411087,
        0.28571428743263523,
        0.22222198475916094,
        0.18183569742845287,
        0.15313903180562081,
        0.14797508281254073,
    ),
    log1p=(
        0.666666666666663,
        0.40000000000158768,
        0.28571428547649284,
        0.22222223983112484,
        0.18181743432220955,
        0.15386570833303097,
        0.13300825317956123,
        0.1210729622454394,
        0.083346620004116635,
        0.17028925687712439,
    ),
    tanh=(
        0.99999999999999969,
        0.66666666666711637,
        0.33333333329927252,
        0.13333333435979391,
        0.044444428085689451,
        0.012698567181305916,
        0.0031736953970074654,
        0.00070881439466088416,
        0.00013360437612570612,
        3.4794682884065893e-5,
    ),
    tanh_near_0=(),
)
_TANH_NEAR_0 = _FLOAT32.tanh_near_0


def constants_of(x):
    """The constants for a vector's dtype; scalars are float64."""
    return _FLOAT32 if isinstance(x, Vector) and x.dtype == types.float32 else _FLOAT64


@specialised_formula
def round_to_integer(x):
    """The nearest integer, as a float, for |x| < 2²² (float32) or 2⁵¹ (float64); ties to even."""
    rounder = 1.5 * 2.0 ** constants_of(x).mantissa_bits
    return lambda x: (x + rounder) - rounder


@specialised_formula
def _reduced(x, k, lift):
    """The remainder r of x, and 2ⁿ⁻ᵏ⁺ˡⁱᶠᵗ."""
    c = constants_of(x)
    mantissa_bits, ln2_high, ln2_low, log2_e = c.mantissa_bits, c.ln2_high, c.ln2_low, 1 / math.log(2)
    # Adding this rounds to an integer, and leaves n − k + lift + bias in the lowest bits.
    rounder = 1.5 * 2.0**mantissa_bits + c.bias

    def reduced(x, k, lift):
        shifted = fma(x, constant(x, log2_e), rounder + lift - k)
        n = shifted - (rounder + lift - k)
        r = fma(n, constant(x, -ln2_low), fma(n, constant(x, -ln2_high), x))
        return r, from_bits(bits(shifted) << mantissa_bits)

    return reduced


@specialised_formula
def exp_scaled(x, k):
    """eˣ·2⁻ᵏ for an integer k (as a float); exactly 0 for x = −inf, +inf for x = +inf, NaN for NaN.

    Domain: |k| ≤ 512 (float32) or 4096 (float64), any x. Error at most 1 ULP for results up to 2¹⁰³
    (2⁹⁷⁰); from twice that on they are +inf.

    x = n·ln2 + r with |r| ≤ ln2/2 (Cody and Waite: n times the leading part of ln2 is exact), so
    eˣ·2⁻ᵏ = eʳ·2ⁿ⁻ᵏ, and the power of two is written straight into an exponent field. Scaling by k
    costs nothing and rounds nothing, where eˣ⁻ᵃ would round x − a first.
    """
    c = constants_of(x)
    coefficients, ln2 = c.exp, math.log(2)
    # The power of two is built this much too large, out of the subnormal numbers. The exponent field
    # then runs out where the result does: at the lower bound it is 0, and so is the power; at the
    # upper it is all ones, which is +inf. (To underflow by multiplying would cost 100 cycles.)
    headroom = c.mantissa_bits + 1
    lowest, highest = -(c.bias + headroom) * ln2, (c.bias + 1 - headroom) * ln2
    small = 2.0**-headroom

    def exp_scaled(x, k):
        x = minimum(k * ln2 + highest, maximum(k * ln2 + lowest, x))
        r, power = _reduced(x, k, headroom)
        return polynomial(r, coefficients) * power * constant(x, small)

    return exp_scaled


@specialised_formula
def two_to_minus(k):
    """2⁻ᵏ for an integer k (as a float), as `exp_scaled` has it for x = 0, but without the polynomial.

    Domain: −969 ≤ k ≤ 4096, of float32 −102 ≤ k ≤ 512. Exact, but 0 where it is less than the smallest
    subnormal number.
    """
    c = constants_of(k)
    headroom = c.mantissa_bits + 1
    rounder, least, small = 1.5 * 2.0**c.mantissa_bits + c.bias, c.bias + headroom, 2.0**-headroom
    return lambda k: from_bits(bits(rounder + headroom - minimum(least, k)) << c.mantissa_bits) * small


@specialised_formula
def leading_power(x):
    """The largest power of two up to x, for a normal x > 0; 0 for 0."""
    exponent_field = -(2 ** constants_of(x).mantissa_bits)
    return lambda x: from_bits(bits(x) & exponent_field)


@specialised_formula
def reduced_for_exp(x, k):
    """r and 2ⁿ⁻ᵏ⁻¹ for `exp_of_reduced`, in two steps so that a loop may do another's in between.

    Domain: |k| ≤ 512 (float32) or 4096 (float64), x such that below_overflow(x, k) = x.
    """
    c = constants_of(x)
    lowest, ln2 = (1 - c.bias) * math.log(2), math.log(2)
    return lambda x, k: _reduced(maximum(k * ln2 + lowest, x), k, -1)


@specialised_formula
def exp_of_reduced(r, half_power):
    """eˣ·2⁻ᵏ for an integer k (as a float), but 0 below 2⁻¹²⁵·⁵ (float64: 2⁻¹⁰²¹·⁵); NaN for NaN.

    Error at most 1 ULP. Three operations quicker than `exp_scaled`.
    """
    # The polynomial is twice what it should be, and the power half: where its exponent field is 0, so is
    # the result, and none is ever subnormal.
    twice = tuple(2 * coefficient for coefficient in constants_of(r).exp)
    return lambda r, half_power: polynomial(r, twice) * half_power


@specialised_formula
def below_overflow(x, k):
    """x, or a number whose eˣ·2⁻ᵏ is +inf, by `exp_of_reduced`, if that is less; NaN for NaN."""
    overflow, ln2 = (constants_of(x).bias + 2) * math.log(2), math.log(2)
    return lambda x, k: minimum(k * ln2 + overflow, x)


@formula
def exp(x):
    """eˣ for x ≤ 0; error at most 1 ULP (float32: over every such x; −inf gives exactly 0); NaN for NaN."""
    return exp_scaled(x, 0.0)


@specialised_formula
def tanh(x):
    """The hyperbolic tangent, odd to the last bit; ±1 for ±inf, NaN for NaN. Error at most 2 ULP.

    For x ≥ 0 it is h/(h + 1) with h = (e²ˣ − 1)/2. As in exp_scaled x = n·ln2/2 + r, so h is
    2ⁿ·(e²ʳ − 1)/2 + (2ⁿ − 1)/2, and near 0, where n = 0, nothing cancels.
    """
    c = constants_of(x)
    mantissa_bits, half_ln2_high, half_ln2_low = c.mantissa_bits, c.ln2_high / 2, c.ln2_low / 2
    coefficients = c.tanh
    two_log2_e = 2 / math.log(2)
    rounder = 1.5 * 2.0**mantissa_bits + c.bias
    largest = 9.1 if c is _FLOAT32 else 19.1  # tanh rounds to 1 there
    no_sign = 2**31 - 1 if c is _FLOAT32 else 2**63 - 1

    def tanh(x):
        magnitude = minimum(largest, from_bits(bits(x) & no_sign))
        # Rounded down, all but, so that no r is far below 0.
        shifted = fma(magnitude, constant(x, two_log2_e), constant(x, -31 / 64)) + rounder
        n = shifted - rounder
        r = fma(n, constant(x, -half_ln2_low), fma(n, constant(x, -half_ln2_high), magnitude))
        power = from_bits(bits(shifted) << mantissa_bits)
        part = fma(r * r, polynomial(r, coefficients), r)
        h = fma(power, part, fma(power, constant(x, 0.5), constant(x, -0.5)))
        quotient = h / (h + 1.0)
        # The same number, h − h·h/(h + 1): what rounding did to the quotient counts for less.
        y = where(h < 0.5, fma(-h, quotient, h), quotient)
        return from_bits(bits(y) | bits(x) & ~no_sign)

    return tanh


@formula
def _capped_by_tanh(x, cap):
    return where(x == -math.inf, -math.inf, tanh(x * (1.0 / cap)) * cap)


@inline
def _capped_by_either(x, cap):
    # Powers of cap go into the coefficients, where float32 can hold them.
    up_to = cap * cap * 0.25 if 2.0**-9 <= cap <= 2.0**9 else -1.0
    q = 1.0 / (cap * cap)
    q_squared = q * q
    c0, c1, c2, c3, c4 = _TANH_NEAR_0
    square = x * x
    coefficients = c0, c1 * q, c2 * q_squared, c3 * (q * q_squared), c4 * (q_squared * q_squared)
    value = x * polynomial(square, coefficients)
    if not all_at_most(square, up_to):
        value = where(square <= up_to, value, _capped_by_tanh(x, cap))
    return value


@specialised_formula
def soft_capped(x, cap):
    """cap·tanh(x/cap) for cap > 0, but −inf for −inf.

    Error at most 2 ULP, and what rounding x/cap adds. For vectors of float32 a polynomial serves up to
    half of a cap that is from 1/512 to 512. A lane's bits do not depend on the others, but its time does: a
    vector that is all there takes a third of the time.
    """
    return _capped_by_either if constants_of(x) is _FLOAT32 else lambda x, cap: _capped_by_tanh(x, cap)
