"""Whether arrays lie in each other's way, as far as their strides and the bounds of their memory tell."""

from .addresses import number_of
from .arithmetic import where
from .formula import formula
from .memory import pointer


@formula
def _bounds(array):
    """The addresses of its first byte, and of that after the last."""
    low = high = number_of(pointer(array))
    for size, stride in zip(array.shape, array.strides, strict=True):
        reach = (size - 1) * stride
        low, high = low + min(0, reach), high + max(0, reach)
    return low, where(array.size == 0, low, high + array.itemsize)


@formula
def overlaps_itself(array):
    """Whether some axis steps less far than an element and all axes of shorter steps reach."""
    overlap = False
    for size, stride in zip(array.shape, array.strides, strict=True):
        step, reach = max(stride, -stride), array.itemsize
        for other_size, other_stride in zip(array.shape, array.strides, strict=True):
            other_step = max(other_stride, -other_stride)  # one that is as long must be this axis itself
            reach = reach + where(other_step <= step, other_step * (other_size - 1), 0)
        overlap = overlap | ((size > 1) & (step * size < reach))
    return overlap & (array.size > 0)


@formula
def _overlap(a, b):
    """Whether the bounds of two arrays do."""
    (start, end), (other_start, other_end) = _bounds(a), _bounds(b)
    return (start < other_end) & (other_start < end)


@formula
def _are_same(a, b):
    same = number_of(pointer(a)) == number_of(pointer(b))
    for size, stride, other_stride in zip(a.shape, a.strides, b.strides, strict=True):
        same = same & ((size == 1) | (stride == other_stride))
    return same


@formula
def first_overlapping(inputs, outputs):
    """The number of the first output that may overlap an input or an output before it; −1 if none does.

    Any may be None. The last output is the gradient, which may be the first input, the logits.
    """
    first = -1
    for i in reversed(range(len(outputs))):
        for other in (*inputs, *outputs[:i]):
            if outputs[i] is not None and other is not None:
                overlap = _overlap(outputs[i], other)
                if outputs[i] is outputs[-1] and other is inputs[0]:
                    overlap = where(_are_same(outputs[i], other), False, overlap)
                first = where(overlap, i, first)
    return first
