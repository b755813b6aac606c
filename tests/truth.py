"""Problems, and their losses and gradients to more digits than any result has."""

import mpmath
import numpy as np

IS_EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant
"""Whether there is more than float64; not so on Windows and on Apple silicon."""


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


def exact_row(logits, target, options):
    """Of one row with an integer target, summed and not averaged: every result, from 60 digits."""
    with mpmath.workdps(60):
        names = ("label_smoothing", "focal_gamma", "z_loss", "logit_scale")
        e, gamma, z_loss, scale = (mpmath.mpf(float(options.get(n, n == "logit_scale"))) for n in names)
        cap, n_classes = options.get("softcap"), len(logits)
        u = [scale * mpmath.mpf(float(z)) for z in logits]
        slopes = [scale] * n_classes
        if cap is not None:
            u = [cap * mpmath.tanh(x / cap) for x in u]
            slopes = [scale * (1 - (x / cap) ** 2) for x in u]
        w = [mpmath.mpf(float(x)) for x in options.get("weight", np.ones(n_classes))]
        s = mpmath.mpf(float(options.get("sample_weight", [1.0])[0]))
        lse = mpmath.log(mpmath.fsum(map(mpmath.exp, u)))
        p = [mpmath.exp(x - lse) for x in u]
        cost, q, m = lse - u[target], 1 - p[target], [e / n_classes * x for x in w]
        hard = (1 - e) * w[target]
        loss = hard * q**gamma * cost + z_loss * lse**2
        loss += mpmath.fsum(m[j] * (lse - u[j]) for j in range(n_classes))
        c = hard * (q**gamma + gamma * q ** (gamma - 1) * p[target] * cost)
        rest = mpmath.fsum(m) + 2 * z_loss * lse
        grad = [s * (c * (p[j] - (j == target)) + rest * p[j] - m[j]) * slopes[j] for j in range(n_classes)]
        return {
            "loss": float(s * loss),
            "loss_out": float(s * loss),
            "lse_out": float(lse),
            "entropy_out": float(mpmath.fsum(x * (lse - y) for x, y in zip(p, u, strict=True))),
            "grad": np.array(list(map(float, grad))),
        }
