"""The mass of a class: what its log-probability counts for in the loss."""

from ..simd import broadcast, fma, where
from .compile import formula
from .vectors import value_at


@formula
def class_mass(t, w, n_classes, label_smoothing):
    """m = w·((1 − label_smoothing)·t + label_smoothing/n_classes), with t = 0 for integer targets."""
    return w * fma(t, 1.0 - label_smoothing, label_smoothing / n_classes)


@formula
def mass_at(row, j, inside, label_smoothing, z):
    """m_j of a vector of classes, 0 where not inside."""
    m = broadcast(0.0, z)
    if label_smoothing is not None:
        t = value_at(row.soft_targets, 0.0, j, inside, z)
        w = value_at(row.weight, 1.0, j, inside, z)
        m = class_mass(t, w, row.n_classes, label_smoothing)
        if inside is not None:
            m = where(inside, m, 0.0)
    return m
