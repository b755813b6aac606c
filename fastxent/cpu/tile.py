"""Rows one a lane, as many as there are lanes: what their classes are read from, and turned into."""

import math
from typing import Any, NamedTuple

from ..simd import broadcast, exp_of_reduced, has_long_registers, lanes_of, load, narrow, store, where
from .columns import Columns, read, write
from .compile import formula, specialised_formula
from .derivatives import gradient, second_derivative, target_derivatives, targets_gradient, to_keep
from .options import class_mass, transformed
from .shift import shifted_argument
from .tally import terms_of
from .vectors import value_at


class Tile(NamedTuple):
    """The rows, where their derivatives go, and working memory for their classes."""

    n_classes: int
    logits: Columns
    soft_targets: Any  # columns or None, as are the next three
    grad: Any
    hess: Any
    targets_grad: Any
    y: Any  # integer targets as floats, which compare in fewer instructions; or None
    inside: Any  # which lanes have a row
    kept: Any  # and which of these are read
    exps: Any
    transformed: Any


@formula
def are_targets(tile, number):
    """Which rows have the class of this number as their target; None without integer targets."""
    return None if tile.y is None else tile.y == number


@formula
def mass_of(tile, j, options):
    """m_j of every row."""
    m = broadcast(0.0, tile.exps)
    if options.label_smoothing is not None:
        if tile.soft_targets is not None:
            m = read(tile.soft_targets, j, tile.kept, tile.exps)
        w = of_class(options.weight, j, tile.exps)
        m = class_mass(m, w, tile.n_classes, options)
    return m


@formula
def of_class(weight, j, z):
    return broadcast(1.0 if weight is None else weight[j], z)


@formula
def are_set_apart(options):
    """Whether the tile has −inf for targets' logits: their exponentials are then 0 without being told apart.

    Not if these are asked for, nor under softcap, whose vectors take longer if one lane is far from 0.
    """
    return options.label_smoothing is options.entropy is options.softcap is None


@formula
def put_logits(tile, j, column, is_target, options):
    """Those of class j, into the tile. Gives them with −inf where it is the target."""
    others = column if is_target is None else where(is_target, -math.inf, column)
    store(tile.exps, j * lanes_of(tile.exps), others if are_set_apart(options) else column)
    return others


@formula
def with_target(z_y, w_y, column, is_target, j, options):
    """The targets' logits and weights, with those of class j where that is the target."""
    if is_target is not None:
        z_y = where(is_target, column, z_y)
        w_y = w_y if options.weight is None else where(is_target, options.weight[j], w_y)
    return z_y, w_y


class Begun(NamedTuple):
    """Exponentials that are begun: the logits transformed, and the argument that is made of them."""

    u: Any
    argument: Any


@formula
def begin(z, j, shift, options):
    """Those of class j, whose logits are in a vector of z."""
    u = transformed(load(z, j * lanes_of(z)), options)
    return Begun(u, shifted_argument(u, shift))


@specialised_formula
def end_begun(z, j, ahead, begun, shift, options):
    """Exponentials and logits of class j, and where registers are few those of the class `ahead` begun.

    As in `row_block`: there is then more to work at while an exponential is waited for.
    """

    def from_begin_to_end(z, j, ahead, begun, shift, options):
        here = begin(z, j, shift, options)
        return exp_of_reduced(*here.argument), here.u, begun

    def end_and_begin_another(z, j, ahead, begun, shift, options):
        return exp_of_reduced(*begun.argument), begun.u, begin(z, ahead, shift, options)

    return from_begin_to_end if has_long_registers() else end_and_begin_another


@formula
def exponentials(e, u, tile, j, is_target, z_y, reference, options):
    """Those of class j, 0 for the rows' targets, and what it adds to the tally.

    They stay in the tile, where the logits were.
    """
    z = tile.exps
    column = load(z, j * lanes_of(z))
    store(z, j * lanes_of(z), to_keep(e, u, options))
    if tile.transformed is not None:
        store(tile.transformed, j * lanes_of(z), u)
    m = mass_of(tile, j, options)
    terms = terms_of(column, z_y, u, e, m, reference, options)
    if is_target is not None and not are_set_apart(options):
        e = where(is_target, 0.0, e)
    return e, terms


@formula
def derivatives_of_targets(tile, sums, slopes, row_factor, options):
    """Those of the rows' integer targets, in the lanes of the tile."""
    g, h = target_derivatives(slopes, sums.w_y, sums.u_y, tile.n_classes, row_factor, options)
    return narrow(g, tile.exps), narrow(h, tile.exps)


@formula
def derivatives_of(tile, j, is_target, top, factors, of_targets, options):
    """The gradient of class j, from its exponentials; the other derivatives are written."""
    z = tile.exps
    e = load(z, j * lanes_of(z))
    u = value_at(tile.transformed, 0.0, j * lanes_of(z), None, z)
    m = mass_of(tile, j, options)
    g = gradient(e, u, m, factors, options)
    h = second_derivative(e, factors, options)
    if is_target is not None:
        g, h = where(is_target, of_targets[0], g), where(is_target, of_targets[1], h)
    if tile.hess is not None:
        write(tile.hess, j, where(tile.kept, h, 0.0), tile.inside)
    if tile.targets_grad is not None:
        t = targets_gradient(top - u, of_class(options.weight, j, z), factors, options)
        write(tile.targets_grad, j, where(tile.kept, t, 0.0), tile.inside)
    return where(tile.kept, g, 0.0)
