"""Every tolerance of the tests, and why it is what it is.

A ULP is the distance between neighbouring numbers of the result's dtype at the true value. `relatively` hands
a tolerance to `pytest.approx`, which by itself would also allow 1e-12, more than most of those for float64.
"""

import numpy as np
import pytest

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
# One a term: every fma rounds once, and with coefficients of one sign nothing cancels; float64's truth errs.
HORNER_ULP = {np.dtype(np.float32): 3, np.dtype(np.float64): 4}

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

LEAST_COUNTED = 1e-30  # README's: smaller losses and gradients hang on probabilities that may be 0

CERTAIN_ULP_FLOAT64 = 6  # the sum is float64, as is what it is summed from; measured 4

LOSS_RELATIVE_FLOAT64 = 1e-14  # a few dozen roundings of 1.1e-16, in the kernel and in the reference
GRAD_RELATIVE_FLOAT64 = 1e-14  # the same, of the largest element that enters the difference

REFERENCE_RELATIVE = 1e-15  # of numbers worked out by hand, near 1: a few roundings of 1.1e-16
REFERENCE_OPTIONS_RELATIVE = 4e-15  # the same with options, each of which is a product or two more

# float64 sums beside the same numbers summed in another order.
SUM_RELATIVE = 1e-14  # of tens to thousands of losses, and what is divided by a sum of weights
MEAN_RELATIVE = 1e-15  # of a few dozen losses: a handful of roundings; and of the logarithm of a count
SUM_GRAD_RELATIVE = 1e-12  # what such a sum divides
MANY_ROWS_RELATIVE = 1e-12  # of 100,000 equal losses: roundings of one sign, as many as lanes add up in turn
GRAD_SUM_ABSOLUTE = 1e-14  # for each class of a row, whose gradient is the difference of numbers up to 1
PERMUTED_LOSS_RELATIVE, PERMUTED_LOSS_ABSOLUTE = 1e-13, 1e-15  # classes summed in another order
PERMUTED_GRAD_RELATIVE = 1e-12
# Logits near 50 that a shift rounds by 4e-15 to 7e-15, which enters exponentials and their sums.
SHIFTED_LOSS_RELATIVE = SHIFTED_LOSS_ABSOLUTE = 1e-11
SHIFTED_GRAD_RELATIVE, SHIFTED_GRAD_ABSOLUTE = 1e-10, 1e-12
LEAST_ABSOLUTE = 1e-300  # beside a relative tolerance: nothing, but for what is 0 or next to it

# Between two results of the same function, of one dtype, or one and the formula in NumPy.
LOG_SUM_EPS = 4  # a log-sum-exp stored by a loss beside `logsumexp`, of logits near 1
REGROUPED_LOSS_EPS, REGROUPED_GRAD_EPS = 2, 4  # by another engine, which sums the classes in another order
REGROUPED_GRAD_IN_PLACE_EPS = 64  # the same where many elements are small differences
DIVIDED_LOSS_EPS, DIVIDED_GRAD_EPS = 2, 8  # divided as a reduction says, beside the specification in float64
ONE_HOT_EPS = 1  # absolute: one-hot targets beside the classes that they name, another route to one rounding
# p·Σt − t, absolute: two probabilities of one ULP or two each, and a difference.
TEXTBOOK_GRAD_EPS = 4
TEXTBOOK_LOSS_SPACINGS = 2  # lse − z_y: of the logits' spacing, which is what this difference rounds to
SOFT_AS_HARD_RELATIVE, SOFT_AS_HARD_ABSOLUTE = 1e-12, 1e-14  # all options, soft one-hot targets and integers
OTHER_TARGETS_EPS = 8  # soft targets of another dtype: eps of the coarser
EXTREME_FACTOR_EPS = 20  # softcap or logit_scale at the ends of its range
OFFSET_LOG_SUM_RELATIVE = 1e-7  # near an offset of 4096 and more, in float32 too
DIVERGENCE_EPS = 4  # of numbers that can be worked out by hand
REPEATED_ROW_EPS = 1  # absolute: s times a gradient, beside s rows of it
ENTROPY_ABOVE_ABSOLUTE = 1e-14  # beyond log k: rounded probabilities may sum to more than 1
FOCAL_GRAD_EPS = 64  # with an exponent of 50: a few roundings, not 50 of them
CERTAIN_GRAD_EPS = 2  # absolute: p_y − t_y of two ones
NEAR_CERTAIN_DIFFERENCE_RELATIVE = 2e-5  # where a likely class is taken away from a sum, in float32
CERTAIN_LOG_PROBABILITY_EPS, CERTAIN_LOG_PROBABILITY_ABSOLUTE = 3, 1e-14  # beside the reference's own errors
EQUAL_LOG_SOFTMAX_EPS = 2  # −log k, wherever the logits are
HALF_LOSS_EPS = 2  # log k in float32, from half types
BFLOAT16_GRAD_RELATIVE = 2.0**-8  # one rounding
HALF_GRAD_ABSOLUTE = 2.0**-25  # half of float16's smallest number

# float32 beside a formula in NumPy, or beside float64: some ten roundings of 6e-8.
FLOAT32_RELATIVE = 1e-6
FLOAT32_GRAD_RELATIVE = 1e-5  # where a difference has cancelled a digit
FLOAT32_ABSOLUTE = 1e-7  # half an ULP of 1, where the true result is 0 or next to it
JACOBIAN_RELATIVE = 1e-4  # p·(g − dot) that cancels two digits, beside the whole Jacobian in float32
JACOBIAN_SUM_ABSOLUTE = 1e-6  # of the three elements of such a row, which sum to 0
CERTAIN_LOSS_ABSOLUTE = 1e-12  # of a loss of e⁻³¹
LARGE_LOGITS_LOSS_RELATIVE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}
LARGE_LOGITS_GRAD_RELATIVE = 1e-5
UNDERFLOW_ABSOLUTE = 1e-36  # what is less may have come out as 0 or subnormal, in either
HUGE_RELATIVE = 1e-5  # a float32 loss near 22, rounded to 1e-6, in an exponent
HUGE_LOSS_RELATIVE = 0.01  # of 2**31 random logits, beside the expected value of their sum
FLOAT16_SCALED_RELATIVE = 1e-3  # a rounding to float16, 5e-4
UNTRAINED_RELATIVE = 0.1  # the loss of a model that knows nothing, beside log k

# The simulator's and a GPU's: float32 is summed in float32, each thread's share and then the threads'.
CUDA_LOSS_EPS, CUDA_GRAD_EPS = 16, 64
CUDA_GRAD_ABSOLUTE_EPS = 1  # where p − 1 has cancelled
CUDA_STRIDED_LOSS_EPS, CUDA_STRIDED_GRAD_EPS = 8, 32  # by threads that share a row otherwise
CUDA_WIDE_LOSS_RELATIVE, CUDA_WIDE_GRAD_RELATIVE, CUDA_WIDE_GRAD_ABSOLUTE = 1e-13, 1e-12, 1e-15  # float64
CUDA_ROW_LOSS_RELATIVE, CUDA_ROW_GRAD_RELATIVE, CUDA_ROW_GRAD_ABSOLUTE = 1e-14, 1e-13, 1e-16  # one row of it
CUDA_BFLOAT16_RELATIVE, CUDA_HESSIAN_ABSOLUTE = 2.0**-7, 1e-6
CUDA_MASKED_ENTROPY_EPS = 8
CUDA_LONG_ROW_EPS, CUDA_LONG_ROW_SUM_EPS = 8, 16  # 20,000 classes to one thread, which must not lose digits
CUDA_ACTIVATION_EPS = 8
CUDA_SPECIAL_EPS = 16  # beside the CPU
CUDA_LARGE_GRAD_TIMES = 4  # CUDA_RELATIVE, for gradients: a difference more
CUDA_TORCH_LOSS_RELATIVE = 1e-5  # on a GPU, beside PyTorch's float32
CUDA_TORCH_GRAD = {"bfloat16": (2e-2, 1e-7), "float32": (1e-4, 1e-10)}  # relative, absolute
CUDA_TORCH_EPS = 64  # relative; an eighth of it absolute

FORMULA_RELATIVE = 1e-14  # the textbook's cross-entropy beside the reference, both in float64


def relatively(expected, relative):
    """What is equal to a number within so much of it, and nothing beside."""
    return pytest.approx(expected, rel=relative, abs=0)


def printed(places):
    """Half a unit of the last place of what somebody printed."""
    return 0.5 * 10.0**-places


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
