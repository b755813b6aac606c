"""Where the constants of `fastxent.simd.elementary` come from; run it to print them.

Each polynomial is the best of its degree: Remez's exchange in 60-digit arithmetic finds the one whose
largest weighted error over the interval is smallest. The coefficients are then rounded to the dtype.
"""

import mpmath
from mpmath import mp, mpf

mp.dps = 60
LN2 = mp.log(2)


def minimax(function, weight, low, high, degree, sweeps=12, grid=2000):
    """Coefficients c, c[0] first, that minimise max |weight(x)·(polynomial(x) − function(x))|."""
    n = degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    points = [middle - half * mp.cos(mp.pi * i / (n - 1)) for i in range(n)]
    xs = [low + (high - low) * mpf(i) / grid for i in range(grid + 1)]
    values = [(x, function(x), weight(x)) for x in xs]
    for _ in range(sweeps):
        rows = [[x**k for k in range(degree + 1)] + [(-1) ** i / weight(x)] for i, x in enumerate(points)]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([function(x) for x in points]))
        coefficients = list(solution)[: degree + 1]
        errors = [w * (horner(coefficients, x) - f) for x, f, w in values]
        points = _alternating_extremes(xs, errors, n)
    return coefficients


def horner(coefficients, x):
    result = mpf(0)
    for c in reversed(coefficients):
        result = result * x + c
    return result


def _alternating_extremes(xs, errors, n):
    """The largest error of each run of one sign, the n largest neighbours of them."""
    runs = [[0]]
    for i in range(1, len(xs)):
        if errors[i] * errors[runs[-1][-1]] < 0:
            runs.append([])
        runs[-1].append(i)
    peaks = [max(run, key=lambda i: abs(errors[i])) for run in runs]
    while len(peaks) > n:
        peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
    if len(peaks) < n:
        raise ArithmeticError(f"the error changes sign {len(peaks)} times, {n} are needed")
    return [xs[i] for i in peaks]


def _exp_tail(r):
    """(eʳ − 1 − r)/r², by its series where the difference would cancel."""
    return (
        mp.nsum(lambda k: r**k / mp.factorial(k + 2), [0, mp.inf])
        if abs(r) < 1e-3
        else (mp.exp(r) - 1 - r) / r**2
    )


def exp_coefficients(degree):
    """eʳ ≈ 1 + r + r²·(c[0] + c[1]·r + ...), |r| ≤ ln2/2 and a little: its relative error is least."""
    bound = LN2 / 2 * mpf("1.0005")
    tail = minimax(_exp_tail, lambda r: r**2 / mp.exp(r) + mpf("1e-9"), -bound, bound, degree - 2)
    return [mpf(1), mpf(1), *tail]


def log_coefficients(terms, largest):
    """log((1+s)/(1−s)) ≈ 2s + s³·(c[0] + c[1]·s² + ...), for (1+s)/(1−s) from 1/largest to the largest."""
    bound = ((largest - 1) / (largest + 1) * mpf("1.0005")) ** 2

    def tail(w):
        s = mp.sqrt(w)
        if w < mpf("1e-6"):
            return mp.fsum(2 * w**k / (2 * k + 3) for k in range(12))
        return (2 * mp.atanh(s) - 2 * s) / s**3

    return minimax(tail, lambda w: w + mpf("1e-9"), mpf(0), bound, terms - 1)


def tanh_coefficients(terms):
    """(e²ʳ − 1)/2 ≈ r + r²·(c[0] + c[1]·r + ...): its relative error is least.

    Rounding 2r/ln2 − 31/64 to an integer leaves r from −1/64 to 63/64 of ln2/2, and a little.
    """
    low, high = -LN2 / 128 * mpf("1.03"), LN2 * 63 / 128 * mpf("1.0005")

    def weight(r):
        return (2 * r**2 / abs(mp.expm1(2 * r)) if r else mpf(0)) + mpf("1e-9")

    return minimax(lambda r: 2 * _exp_tail(2 * r), weight, low, high, terms - 1)


def tanh_near_0_coefficients(terms):
    """tanh x ≈ x·(1 + x²·(c[0] + c[1]·x² + ...)) for x from −1/2 to 1/2: its relative error is least."""

    def tail(w):
        x = mp.sqrt(w)
        if w < mpf("1e-6"):
            return -mpf(1) / 3 + 2 * w / 15 - 17 * w**2 / 315
        return (mp.tanh(x) / x - 1) / w

    def weight(w):
        return (w * mp.sqrt(w) / mp.tanh(mp.sqrt(w)) if w else mpf(0)) + mpf("1e-9")

    return [mpf(1), *minimax(tail, weight, mpf(0), mpf("0.2501"), terms - 2)]


def split_ln2(leading_bits):
    """ln2 as a leading part of so many bits, whose product with a small integer is exact, and the rest."""
    scale = mpf(2) ** leading_bits
    high = mp.nint(LN2 * scale) / scale
    return high, LN2 - high


def main():
    for name, digits, exp_degree, log_terms, log1p_terms, tanh_terms, bits in (
        ("float32", 9, 6, 4, 4, 5, 13),
        ("float64", 17, 11, 7, 10, 10, 40),
    ):
        high, low = split_ln2(bits)
        print(name)
        print("  ln2_high", mpmath.nstr(high, digits), " ln2_low", mpmath.nstr(low, digits))
        for label, coefficients in (
            ("exp", exp_coefficients(exp_degree)),
            ("log", log_coefficients(log_terms, mp.sqrt(2))),
            ("log1p", log_coefficients(log1p_terms, 2)),
            ("tanh", tanh_coefficients(tanh_terms)),
            ("tanh_near_0", tanh_near_0_coefficients(5) if name == "float32" else []),
        ):
            print(f"  {label}", ", ".join(mpmath.nstr(c, digits) for c in coefficients))


if __name__ == "__main__":
    main()
