"""Functions that users might compile, of which cross-entropy is a part."""

import numpy as np
from numba import njit

import fastxent


@njit
def loss_of(logits, targets):
    return fastxent.cross_entropy(logits, targets)


@njit
def in_place(logits, targets):
    return fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)


@njit(fastmath=True, error_model="numpy")
def row_by_row(logits, targets, losses):
    for i in range(len(targets)):
        losses[i], _ = fastxent.cross_entropy_with_grad(
            logits[i], targets[i], reduction="none", grad_out=logits[i]
        )


@njit
def with_z_loss(logits, targets, z_loss):
    return fastxent.cross_entropy_with_grad(logits, targets, z_loss=z_loss, reduction="sum")


@njit
def with_weight(logits, targets, weight):
    return fastxent.cross_entropy_with_grad(logits, targets, weight=weight)


@njit
def with_numbers(logits, targets, focal_gamma, softcap, normalizer):
    return fastxent.cross_entropy_with_grad(
        logits, targets, focal_gamma=focal_gamma, softcap=softcap, normalizer=normalizer
    )


@njit(fastmath=True)
def with_options(
    logits, targets, weight, sample_weight, smoothing, z_loss, scale, loss, lse, rank, entropy, grad, hess
):
    return fastxent.cross_entropy_with_grad(
        logits,
        targets,
        weight=weight,
        sample_weight=sample_weight,
        label_smoothing=smoothing,
        z_loss=z_loss,
        logit_scale=scale,
        reduction="none",
        loss_out=loss,
        lse_out=lse,
        rank_out=rank,
        entropy_out=entropy,
        grad_out=grad,
        hess_out=hess,
    )


def batch(n_rows, n_classes, dtype=np.float32):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, n_classes, n_rows)
    targets[2::5] = -100
    return rng.normal(0, 3, (n_rows, n_classes)).astype(dtype), targets


def solve_compiled(mix, logits, targets, options):
    """As `tests.mixes.solve` does from Python."""
    rows = targets.shape
    loss, lse, entropy = (np.full(rows, np.nan, logits.dtype) for _ in range(3))
    rank, grad, hess = np.full(rows, -1), np.empty_like(logits), np.empty_like(logits)
    numbers = [options[name] for name in ("label_smoothing", "z_loss", "logit_scale")]
    result = with_options(
        logits,
        targets,
        options["weight"],
        options["sample_weight"],
        *numbers,
        loss,
        lse,
        rank,
        entropy,
        grad,
        hess,
    )
    assert all(out is given for out, given in zip(result, (loss, grad), strict=True))
    names = ["loss", "loss_out", "lse_out", "rank_out", "entropy_out", "grad", "hess_out"]
    return dict(zip(names, (loss, loss, lse, rank, entropy, grad, hess), strict=True))
