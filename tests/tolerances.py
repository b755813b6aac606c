"""Every tolerance of the tests, and why it is what it is.

A ULP is the distance between neighbouring numbers of the result's dtype at the true value.
"""

import numpy as np

from tests.measure import ulp

EXP_ULP = 1  # what exp and exp_scaled promise: half for the last rounding, the rest for the polynomial
LOG_ULP = 1  # what log promises
LOG1P_ULP = 2  # what log1p promises: log's error and that of the correction it adds
HORNER_ULP = 1  # a term: every fma rounds once, and with coefficients of one sign nothing cancels

# exp and the total of exps are off by up to 0.9 ULP, which may be 1.8 of the quotient, and that is rounded;
# measured 2.2 for float32, 3.4 for float64.
PROBABILITY_ULP = 4
SOFTMAX_GRAD_ULP = 3  # p·(g − dot): two differences and a product, each rounded; measured 2.3
SIGMOID_ULP = 3  # exp twice over, a sum and a quotient, each rounded
LOG_SUM_ULP = 1  # the sum and its log are float64: one rounding, beside `log_sum_absolute`
LOG_PROBABILITY_ULP = 2  # z − lse, where lse is two numbers: two differences, beside `log_sum_absolute`
GRAD_ULP_FLOAT32 = 2  # probabilities, scaled in the same rounding
LOSS_ULP_FLOAT32 = 2  # sums and logarithms are float64; the exponentials' errors and one rounding remain

LOSS_RELATIVE_FLOAT64 = 1e-14  # a few dozen roundings of 1.1e-16, in the kernel and in the reference
GRAD_RELATIVE_FLOAT64 = 1e-14  # the same, of the largest element that enters the difference

REFERENCE_RELATIVE = 1e-15  # of numbers worked out by hand, near 1: a few roundings of 1.1e-16


def eps(dtype):
    """The distance from 1 to the next number."""
    return float(np.finfo(dtype).eps)


def reference_ulp(dtype, largest):
    """What the float64 reference itself may miss, in ULP of dtype, for logits up to `largest`.

    It rounds z − max, by half an ULP of up to twice the largest, and exp turns that into so many ULP of
    the result; its sums add a few more. Of float32 all this is nothing.
    """
    return 0 if dtype == np.float32 else 8 + 2 * largest


def log_sum_absolute(dtype, largest):
    """The absolute error of log-sum-exp and log-softmax beside their last rounding.

    The relative error of the sum of exponentials, which is theirs, and the float64 roundings of numbers
    as large as the logits.
    """
    return EXP_ULP * eps(dtype) + 2 * eps(np.float64) * largest


def allowed_error(name, truth, dtype, *arguments):
    """The absolute error allowed to each element of what the function of that name returns."""
    largest = max((float(np.max(np.abs(a[np.isfinite(a)]), initial=0)) for a in arguments), default=0)
    if name == "softmax_grad":
        budget, absolute = SOFTMAX_GRAD_ULP, GRAD_RELATIVE_FLOAT64 * largest * np.abs(arguments[0])
    elif name in ("logsumexp", "log_softmax"):
        budget = LOG_SUM_ULP if name == "logsumexp" else LOG_PROBABILITY_ULP
        absolute = log_sum_absolute(dtype, largest)
    elif name == "softmax":
        budget, absolute = PROBABILITY_ULP + reference_ulp(dtype, largest), 0
    else:
        budget, absolute = SIGMOID_ULP, 0
    return budget * ulp(truth, dtype) + absolute


def sum_is_one(dtype):
    """How far probabilities may sum from 1: each is off by so many of its ULP, so their sum of 1's."""
    return PROBABILITY_ULP * eps(dtype)


# In ULP of the truth rounded to the dtype. float64 has nothing wider to sum in: a few roundings more.
LOSS_ULP = {np.dtype(np.float32): LOSS_ULP_FLOAT32, np.dtype(np.float64): 8}
GRAD_ULP = {np.dtype(np.float32): GRAD_ULP_FLOAT32, np.dtype(np.float64): 8}
