"""How far a result is from the truth, and whether two are the same."""

import mpmath
import numpy as np


def ulp(truth, dtype):
    """The distance between neighbouring numbers of the dtype at a true value, given in float64."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(truth)
    smallest = (truth == 0) | (exponent - 1 < info.minexp)
    return np.ldexp(1.0, np.where(smallest, info.minexp, exponent - 1) - info.nmant)


def ulp_error(result, truth, beyond=0.0):
    """The error of each element in ULP of the result's dtype; infinite where only one of the two is NaN.

    The truth is float64, and `beyond` what it is more than that, in ULP of float64. An infinity is right
    where the truth is one or rounds to one.
    """
    result, truth = np.asarray(result), np.asarray(truth, np.float64)
    with np.errstate(all="ignore"):
        unit = ulp(truth, result.dtype)
        error = np.abs((result.astype(np.float64) - truth) / unit - beyond * (ulp(truth, np.float64) / unit))
        rounded = truth.astype(result.dtype)
    agree = (result == rounded) & np.isinf(rounded) | np.isnan(result) & np.isnan(truth)
    return np.where(agree, 0.0, np.where(np.isnan(error), np.inf, error))


def exactly(function, *arguments):
    """The function in 200-bit arithmetic over arrays: its values in float64, and what is beyond, in ULP."""
    with mpmath.workprec(200):
        values = [
            function(*map(mpmath.mpf, row)) for row in zip(*(a.tolist() for a in arguments), strict=True)
        ]
        rounded = np.array([float(v) for v in values])
        unit = ulp(np.where(np.isfinite(rounded), rounded, 1.0), np.float64)
        beyond = [float((v - r) / u) for v, r, u in zip(values, rounded.tolist(), unit.tolist(), strict=True)]
    return rounded, np.where(np.isfinite(rounded), beyond, 0.0)


def assert_ulp(result, truth, budget, at=None):
    """Fails with the largest error and where it is; `truth` may be the pair from `exactly`."""
    errors = ulp_error(result, *(truth if isinstance(truth, tuple) else (truth,)))
    worst = np.unravel_index(np.argmax(errors), errors.shape) if errors.size else None
    place = worst if at is None or worst is None else float(at[worst])
    assert np.all(errors <= budget), f"{errors[worst]:.4f} ULP at {place}, allowed {budget}"


def canonical_bits(array):
    """The bits, with one NaN for all."""
    array = np.asarray(array)
    if array.dtype.kind in "iu":
        return array
    same_nan = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return same_nan.view(f"i{array.dtype.itemsize}")


def assert_same_bits(result, expected):
    assert np.asarray(result).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(canonical_bits(result), canonical_bits(expected))
