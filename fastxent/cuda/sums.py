"""Sums over the classes of a row: each thread's own, under the largest logit it has met, then the block's."""

from typing import Any, NamedTuple

import numpy as np

from .package import cast, device, exp, max_of_block, sum_of_block, tanh


class Sums(NamedTuple):
    """Gaps of logits to the largest keep the digits that sums of logits far from 0 would lose."""

    top: Any  # the largest transformed logit u, made finite
    others: Any  # Σ e_j, e_j = exp(u_j − top), of all classes but the target's
    entropy_gap: Any  # Σ e_j·(top − u_j) of the same
    mass: Any  # Σ m_j of those that were met
    mass_gap: Any  # Σ m_j·(top − u_j)
    above: Any  # how many logits are greater than the target's


@device
def empty_sums(c):
    return Sums(-c.largest, c.zero, c.zero, c.zero, c.zero, 0)


@device
def transformed(z, on, c):
    """u = softcap·tanh(logit_scale·z/softcap); a masked class stays masked."""
    if on.logit_scale:
        z = z * c.logit_scale
    if on.softcap and z != -c.infinity:
        z = c.softcap * tanh(z / c.softcap)
    return z


@device
def zero_wins(a, b, c):
    """a·b, where 0 times infinity is 0."""
    return c.zero if a == c.zero and b == c.infinity else a * b


@device
def mass_of(row, j, weight, on, c):
    """What label_smoothing gives to class j; 0 beyond the row."""
    if j < 0 or j >= row.n_classes:
        return c.zero
    even = c.label_smoothing / cast(row.n_classes, c.zero)
    return even * weight[j] if on.weight else even


@device
def with_top(sums, top, on, c):
    """The same sums under a top that is at least theirs."""
    ratio, step = exp(sums.top - top), top - sums.top
    entropy_gap, mass_gap = sums.entropy_gap, sums.mass_gap
    if on.entropy:
        # The gap to a mask such as the least float32 may overflow; what was met next to it counts for 0.
        entropy_gap = zero_wins(ratio, entropy_gap + zero_wins(sums.others, step, c), c)
    if on.label_smoothing:
        mass_gap = mass_gap + zero_wins(sums.mass, step, c)
    return Sums(top, sums.others * ratio, entropy_gap, sums.mass, mass_gap, sums.above)


@device
def is_target(row, j, k):
    """Whether class j + k is. GPUs compare 32 bits at once, and rows have at most MOST_CLASSES."""
    return np.int32(k) == np.int32(row.target - j)


@device
def plus_vector(sums, row, j, u, weight, on, c):
    """With the classes from j on, whose transformed logits are u; −inf beyond the row."""
    top = sums.top
    for k in range(len(u)):
        top = u[k] if u[k] > top else top
    top = c.largest if top > c.largest else top
    _, others, entropy_gap, mass, mass_gap, above = with_top(sums, top, on, c)
    for k in range(len(u)):
        e = exp(u[k] - top)
        e = c.zero if is_target(row, j, k) else e  # chosen, not jumped around
        others = others + e
        if on.entropy:
            entropy_gap = entropy_gap + zero_wins(e, top - u[k], c)
        if on.label_smoothing:
            m = mass_of(row, j + k, weight, on, c)
            mass = mass + m
            mass_gap = mass_gap + zero_wins(m, top - u[k], c)
    return Sums(top, others, entropy_gap, mass, mass_gap, above)


@device
def plus_above(sums, row, j, z):
    """With the logits, as they were given, that are greater than the target's. NaN is greater than all."""
    above = sums.above
    for k in range(len(z)):
        is_class = j + k >= 0 and j + k < row.n_classes
        above = above + (1 if is_class and not z[k] <= row.z_y else 0)
    return Sums(sums.top, sums.others, sums.entropy_gap, sums.mass, sums.mass_gap, above)


@device
def together(a, b, on, c):
    """The sums of two parts of a row."""
    top = a.top if a.top > b.top else b.top
    a, b = with_top(a, top, on, c), with_top(b, top, on, c)
    return Sums(
        top,
        a.others + b.others,
        a.entropy_gap + b.entropy_gap,
        a.mass + b.mass,
        a.mass_gap + b.mass_gap,
        a.above + b.above,
    )


@device
def of_block(sums, on, c):
    """The sums of all threads."""
    top, others, entropy_gap, mass, mass_gap, above = with_top(sums, max_of_block(sums.top), on, c)
    others = sum_of_block(others)
    if on.entropy:
        entropy_gap = sum_of_block(entropy_gap)
    if on.label_smoothing:
        mass_gap = sum_of_block(mass_gap)
    if on.rank:
        above = sum_of_block(above)
    return Sums(top, others, entropy_gap, mass, mass_gap, above)
