"""Every tolerance of the tests, and why it is what it is.

A ULP is the distance between neighbouring numbers of the result's dtype at the true value.
"""

import numpy as np

from tests.measure import ulp

EXP_ULP = 1  # what exp and exp_scaled promise: half for the last rounding, the rest for the polynomial
LOG_ULP = 1  # what log promises
LOG1P_ULP = 2  # what log1p promises: log's error and that of the correction it adds
# What log1p_of_fraction promises: a sum, a quotient, a product and a difference; measured 1.31 for float32,
# of all fractions, and 1.19 for float64.
LOG1P_OF_FRACTION_ULP = 2
SLOPE_EPS = 4  # 1 − tanh², absolute: twice the error of a tanh near 1, and its rounding
TANH_ULP = 2  # what tanh promises; measured 1.87 for float32, of all of them, and 1.76 for float64
SOFT_CAPPED_ULP = 3  # TANH_ULP, and what rounding x/cap adds; measured 2.7
HORNER_ULP = 1  # a term: every fma rounds once, and with coefficients of one sign nothing cancels

# exp and the total of exps are off by up to 0.9 ULP, which may be 1.8 of the quotient, and that is rounded;
# measured 2.2 for float32, 3.4 for float64.
PROBABILITY_ULP = 4
SOFTMAX_GRAD_ULP = 3  # p·(g − dot): two differences and a product, each rounded; measured 2.3
SIGMOID_ULP = 3  # exp twice over, a sum and a quotient, each rounded
LOG_SUM_ULP = 1  # the sum and its log are float64: one rounding, beside `log_sum_absolute`
LOG_PROBABILITY_ULP = 2  # z − lse, where lse is two numbers: two differences, beside `log_sum_absolute`
# exp, log1p of it, and a rounding or two of their own; measured 2.3 for float32, 2.2 for float64.
BINARY_LOSS_ULP = 3
BINARY_GRAD_ULP = 4  # of the larger of its two terms: exp twice over, a quotient, the divisor; measured 2.8
OPTION_ULP = 2  # what smoothing and two weights add: a rounding or two for each product; measured 1.4
# The logs and their sum are float64, and so is the reference; measured 0.5, and 5 for a thousand classes.
EXPECTED_SURPRISAL_ULP = {"float32": 1, "float64": 8}
GRAD_ULP_FLOAT32 = 2  # probabilities, scaled in the same rounding
LOSS_ULP_FLOAT32 = 2  # sums and logarithms are float64; the exponentials' errors and one rounding remain

CERTAIN_ULP_FLOAT64 = 6  # the sum is float64, as is what it is summed from; measured 4

LOSS_RELATIVE_FLOAT64 = 1e-14  # a few dozen roundings of 1.1e-16, in the kernel and in the reference
GRAD_RELATIVE_FLOAT64 = 1e-14  # the same, of the largest element that enters the difference

REFERENCE_RELATIVE = 1e-15  # of numbers worked out by hand, near 1: a few roundings of 1.1e-16


def power_ulp(y):
    """What power promises: exp's error, and that of y times a logarithm of at most ln2/2."""
    return 2 + y


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
    """The absolute error of log-sum-exp beside its last rounding; log-softmax has that for logits near 0.

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
        absolute = log_sum_absolute(dtype, largest)  # of log-softmax the reference's own
    elif name == "softmax":
        budget = PROBABILITY_ULP + reference_ulp(dtype, largest)
        absolute = PROBABILITY_OR_ZERO[np.dtype(dtype)]
    else:
        budget, absolute = SIGMOID_ULP, 0
    return budget * ulp(truth, dtype) + absolute


def sum_is_one(dtype):
    """How far probabilities may sum from 1: each is off by so many of its ULP, so their sum of 1's."""
    return PROBABILITY_ULP * eps(dtype)


# Probabilities up to here may come out as 0: those of exponentials below 2**-125.5 and 2**-1021.5, next to a
# sum of at least √½.
PROBABILITY_OR_ZERO = {np.dtype(np.float32): 2.0**-125, np.dtype(np.float64): 2.0**-1021}

# In ULP of the truth rounded to the dtype. float64 has nothing wider to sum in: a few roundings more.
LOSS_ULP = {np.dtype(np.float32): LOSS_ULP_FLOAT32, np.dtype(np.float64): 8}
GRAD_ULP = {np.dtype(np.float32): GRAD_ULP_FLOAT32, np.dtype(np.float64): 8}

# The roundings of losses near 10 over the step of 2**-10, and the error of the step; measured 1.5e-12.
NUMERICAL_GRAD_ABSOLUTE = 1e-11
# float64 against float64 summed in another order, of the largest element; measured less than 4e-15.
PEER_RELATIVE = 2e-14

# With options, of the terms that a result is the sum of, which may cancel. In float32 the transformed logits
# are rounded, and so are the masses, their products, and exponentials that are off by 1 ULP already: measured
# 2. In float64 the specification errs as well, and both sum class after class: measured 9.
OPTIONS_RELATIVE = {np.dtype(np.float32): 4 * eps(np.float32), np.dtype(np.float64): 32 * eps(np.float64)}
# On a GPU float32 is summed in float32, by each thread and then over threads: more roundings than on the CPU.
CUDA_RELATIVE = {np.dtype(np.float32): 16 * eps(np.float32), np.dtype(np.float64): 64 * eps(np.float64)}
# Of near-certain rows: the README's digits, and those that float64 has left of 1e-10 beside 25.
NEAR_CERTAIN_RELATIVE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}

# Of the largest element, beside PyTorch in the same dtype, which rounds log-probabilities to it and then
# works on with them: several roundings of its own.
TORCH_RELATIVE = {
    "torch.float64": 4e-14,
    "torch.float32": 4e-6,
    "torch.float16": 4e-3,
    "torch.bfloat16": 3e-2,
}

# Of hostile calls, whose terms are of any size and may cancel: enough to tell a wrong number from a rounding.
FUZZ_RELATIVE = {np.dtype(np.float32): 16 * eps(np.float32), np.dtype(np.float64): 128 * eps(np.float64)}
