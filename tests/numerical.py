"""Derivatives from values alone, one element at a time, and the options they are tried with."""

import numpy as np

STEP = 2.0**-10  # the order-4 error, STEP⁴/30 of the fifth derivative, is about that of the roundings

HARD_OPTIONS = [
    {},
    {"reduction": "sum"},
    {"normalizer": 2.5},
    {"weight": [0.5, 2.0, 0.0, 1.5, 1.0]},
    {"sample_weight": [1.0, 0.25, 0.0, 3.0]},
    {"ignore_index": 1},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0},
    {"focal_gamma": 0.5},
    {"focal_gamma": 1.0},
    {"focal_gamma": 2.0},
    {"z_loss": 0.25},
    {"softcap": 2.0},
    {"logit_scale": 1.5},
    {"logit_scale": 1.5, "softcap": 2.0},
    {"weight": [0.5, 2.0, 0.0, 1.5, 1.0], "label_smoothing": 0.1},
    {"focal_gamma": 2.0, "label_smoothing": 0.1, "softcap": 2.0},
    {"z_loss": 0.25, "softcap": 2.0, "logit_scale": 1.5},
    {"weight": [0.5, 2.0, 0.0, 1.5, 1.0], "sample_weight": [1.0, 0.25, 0.0, 3.0], "z_loss": 0.25},
    {
        "weight": [0.5, 2.0, 0.0, 1.5, 1.0],
        "sample_weight": [1.0, 0.25, 0.0, 3.0],
        "ignore_index": 1,
        "label_smoothing": 0.1,
        "focal_gamma": 1.5,
        "z_loss": 0.25,
        "softcap": 2.0,
        "logit_scale": 1.5,
    },
]
# Those that soft targets take as well, and those with a diagonal Hessian.
SOFT_OPTIONS = [o for o in HARD_OPTIONS if not {"focal_gamma", "ignore_index"} & set(o)]
HESSIAN_OPTIONS = [o for o in HARD_OPTIONS if not {"focal_gamma", "softcap"} & set(o)]


def numerical_problem():
    """Four rows of five logits, their integer targets, and soft targets that do not all sum to 1."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 1.5, (4, 5)), np.array([1, 2, 4, 3]), rng.uniform(0, 0.5, (4, 5))


def numerical_grad(function, array):
    """The gradient of a function of float64 arrays to numbers, by central differences of order 4."""
    grad = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        grad[index] = _derivative(function, array, index)
    return grad


def numerical_diagonal(gradient, array):
    """The derivative of each element of a gradient for its own element of the array: a Hessian's diagonal."""
    diagonal = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        diagonal[index] = _derivative(gradient, array, index)[index]
    return diagonal


def _derivative(function, array, index):
    def at(steps):
        moved = np.array(array, np.float64)
        moved[index] += steps * STEP
        return function(moved)

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)
