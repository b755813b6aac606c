"""Further sums over the classes of a row, which options ask for.

A logit enters as its gap to a reference, the largest logit of its block, so that the sums of a
near-certain row cancel nothing. Every lane sums for itself, be it classes of one row or a row of its own.
What a few vectors of classes add is summed up in the dtype of the logits first; masses then go on in float64.
"""

from typing import Any, NamedTuple

from ..simd import broadcast, folded, full_like, log, maximum, minimum, reduce_sum, where, widen, widest
from .compile import formula
from .exact_sum import BIAS, add, empty_sum, value_of
from .shift import range_of


class Tally(NamedTuple):
    """The sums over classes, or what a few vectors of them add."""

    mass: Any  # Σ m_j
    mass_gap: Any  # Σ m_j·(reference − u_j), and Σ m_j·log m_j if it is a divergence
    entropy_gap: Any  # Σ e_j·(reference − u_j)
    above: Any  # how many logits are greater than the target's


@formula
def reference_for(top, z):
    """The largest logit, made finite."""
    _, largest = range_of(z)
    return maximum(-largest, minimum(largest, top))


@formula
def empty_tally(bias):
    """With the bias of the exponentials, lane by lane; times their gaps they are less than 2⁸ times those."""
    zero = full_like(bias, 0.0)
    return Tally(widen(zero), widen(zero), empty_sum(minimum(BIAS, bias * 2.0**8)), zero)


@formula
def terms_of(z, z_y, u, e, m, reference, options):
    """Of a vector of classes."""
    gap = reference - u
    mass_gap = where(m == 0.0, 0.0, m * gap)
    if options.divergence is not None:
        mass = widen(m)
        mass_gap = where(mass == 0.0, 0.0, mass * (widen(gap) + log(mass)))
    # NaN is above every number, and nothing is below it.
    above = where(z <= z_y, broadcast(0.0, z), 1.0)
    return Tally(m, mass_gap, where(e == 0.0, 0.0, e * gap), above)


@formula
def empty_terms(z, options):
    zero = broadcast(0.0, z)
    return Tally(zero, zero if options.divergence is None else widen(zero), zero, zero)


@formula
def together(a, b):
    return Tally(*(x + y for x, y in zip(a, b, strict=True)))


@formula
def tallied(tally, terms, options):
    mass, mass_gap, entropy_gap, above = tally
    if options.label_smoothing is not None:
        mass = mass + widen(folded(terms.mass, above))
        mass_gap = mass_gap + widen(folded(terms.mass_gap, above))
    if options.entropy is not None:
        entropy_gap = add(entropy_gap, folded(terms.entropy_gap, above))
    if options.rank is not None:
        above = above + folded(terms.above, above)
    return Tally(mass, mass_gap, entropy_gap, above)


@formula
def long_enough(like, z, options):
    """A vector like this one, or the widest if there are sums that depend on how many are added up first."""
    return like if options.label_smoothing is options.entropy is None else widest(z)


@formula
def in_float64(tally):
    return Tally(tally.mass, tally.mass_gap, value_of(tally.entropy_gap), widen(tally.above))


@formula
def over_lanes(lanes, options):
    """One row's sums, in float64, from those in the lanes."""
    mass = mass_gap = entropy_gap = above = 0.0
    if options.label_smoothing is not None:
        mass, mass_gap = reduce_sum(lanes.mass), reduce_sum(lanes.mass_gap)
    if options.entropy is not None:
        entropy_gap = reduce_sum(value_of(lanes.entropy_gap))
    if options.rank is not None:
        above = widen(reduce_sum(lanes.above))
    return Tally(mass, mass_gap, entropy_gap, above)


@formula
def with_reference(total, step, exps, rescale, options):
    """For a reference larger by `step`, and exponentials (`exps` in all) that become times `rescale`."""
    mass, mass_gap, entropy_gap, above = total
    if options.label_smoothing is not None:
        mass_gap += mass * step
    if options.entropy is not None:
        entropy_gap = (entropy_gap + exps * step) * rescale
    return Tally(mass, mass_gap, entropy_gap, above)
