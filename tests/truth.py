"""Problems, and their losses and gradients to more digits than any result has."""

import numpy as np


def problem(n_rows, n_classes, dtype=np.float64, spread=3.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n_rows, n_classes)).astype(dtype)
    return logits, rng.integers(0, n_classes, n_rows)


def loss_and_grad(logits, targets):
    """Row losses and (softmax − one-hot) of a matrix, in extended precision where the machine has it.

    The other classes are summed apart from the target, so nothing cancels when its probability is near 1.
    """
    rows = np.arange(len(targets))
    z = logits.astype(np.longdouble)
    z -= z.max(axis=1, keepdims=True)
    exps = np.exp(z)
    total = exps.sum(axis=1)
    target = exps[rows, targets].copy()
    exps[rows, targets] = 0
    others = exps.sum(axis=1)
    with np.errstate(divide="ignore", over="ignore"):
        loss = np.where(target > others, np.log1p(others / target), np.log(total) - z[rows, targets])
    grad = exps / total[:, None]
    grad[rows, targets] = -others / total
    return loss, grad
