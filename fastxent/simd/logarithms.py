"""log, log1p and powers, as `elementary` has exp and tanh."""

import math

from .arithmetic import bits, fma, from_bits, maximum, polynomial, to_float, where
from .elementary import constants_of, exp_scaled, round_to_integer
from .formula import formula, specialised_formula


@specialised_formula
def _split_normal(x):
    """For normal x > 0, e and f with x = 2ᵉ·(1 + f) and 1 + f from √½ to √2; e as a float."""
    c = constants_of(x)
    mantissa_bits = c.mantissa_bits
    root_half = (c.bias << c.mantissa_bits) - int((1 - math.sqrt(0.5)) * 2 ** (c.mantissa_bits + 1))

    def split_normal(x):
        i = bits(x)
        exponent = (i - root_half) >> mantissa_bits
        return to_float(exponent), from_bits(i - (exponent << mantissa_bits)) - 1.0

    return split_normal


@specialised_formula
def _split(x):
    """As `_split_normal`, for any x > 0."""
    c = constants_of(x)
    mantissa_bits, tiny, lift = c.mantissa_bits, 2.0 ** (1 - c.bias), 2.0**c.mantissa_bits

    def split(x):
        subnormal = x < tiny
        e, f = _split_normal(where(subnormal, x * lift, x))
        return where(subnormal, e - mantissa_bits, e), f

    return split


@specialised_formula
def _log_of_parts(e, f, x):
    """log x for x = 2ᵉ·(1 + f), −inf for 0, +inf for +inf, NaN for NaN.

    With s = f/(2 + f), log(1 + f) = 2·atanh(s), an odd series in s.
    """
    c = constants_of(x)
    coefficients, ln2_high, ln2_low = c.log, c.ln2_high, c.ln2_low

    def log_of_parts(e, f, x):
        s = f / (2.0 + f)
        w = s * s
        half_square = 0.5 * f * f
        # log(1+f) = f − f²/2 + s·(f²/2 + w·P(w)): the large terms are exact or nearly so.
        tail = fma(s, half_square + w * polynomial(w, coefficients), e * ln2_low)
        y = where(x < math.inf, e * ln2_high + (f - (half_square - tail)), x)
        return where(x == 0.0, -math.inf, y)

    return log_of_parts


@formula
def log(x):
    """The natural logarithm; log(0) = −inf, log(+inf) = +inf, NaN for x < 0. Error at most 1 ULP."""
    e, f = _split(x)
    return where(x >= 0.0, _log_of_parts(e, f, x), math.nan)


@formula
def log1p(x):
    """log(1 + x) for x ≥ −1, accurate for small x too. Error at most 2 ULP for x ≥ −½."""
    y = 1.0 + x
    e, f = _split_normal(y)
    # What rounding 1 + x lost, divided by y, is what the logarithm of y misses. Chords of 1/y from
    # y = ½ to 1 and from 1 to 2 are near enough, and beyond 3 nothing is missed.
    lost = x - (y - 1.0)
    missed = where(y < 3.0, lost * maximum(3.0 - 2.0 * y, 1.5 - 0.5 * y), 0.0)
    return _log_of_parts(e, f, y) + missed


@specialised_formula
def log1p_of_fraction(x):
    """log(1 + x) for x from 0 to 1; NaN for NaN. Error at most 2 ULP.

    1 + x need not be split: with s = x/(2 + x), log(1 + x) = 2·atanh(s), and 2s = x − s·x.
    """
    coefficients = constants_of(x).log1p

    def log1p_of_fraction(x):
        s = x / (2.0 + x)
        w = s * s
        return x - s * (x - w * polynomial(w, coefficients))

    return log1p_of_fraction


@specialised_formula
def power(x, y):
    """xʸ for x from 0 to 1 and finite y ≥ 0; 0⁰ is 1. NaN for NaN and x < 0.

    Error at most 2 + y ULP, in float64 with a processor that has fma, down to results of 2⁻¹⁰²². For
    x = 2ᵉ·(1 + f), the integer part of e·y is an exponent, and only its fraction and y·log(1 + f) are for
    exp: their errors grow with y, not with y·log x.
    """
    ln2, lowest = math.log(2), -2.0 * constants_of(x).bias

    def power(x, y):
        e, f = _split(x)
        n = round_to_integer(maximum(e * y, lowest))
        result = exp_scaled(fma(e, y, -n) * ln2 + y * log(1.0 + f), -n)
        result = where(x == 0.0, where(y == 0.0, 1.0, 0.0), result)
        return where(x >= 0.0, result, math.nan)

    return power
