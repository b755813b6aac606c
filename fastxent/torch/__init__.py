"""PyTorch's cross-entropies, large ones several times as fast on the CPU: change the import, no more.

    from fastxent.torch import cross_entropy  # was: from torch.nn.functional import cross_entropy

Functions and modules take what those of PyTorch take, and give what they give to rounding. What fastxent
does not cover goes to PyTorch's own function: most tensors that are not on the CPU (with one warning), mixed
dtypes, tensor subclasses, `torch.func` transforms, forward mode, `torch.jit.trace`, and bad input, so that
errors are the ones you know; a target that is no class is an IndexError of fastxent's.
On a GPU fastxent has `cross_entropy` of class indices, where `fastxent.cuda.is_available()`.

`covered.py` decides who computes, `functional.py` asks for the loss, `solve.py` takes tensors to fastxent's
public functions and back by way of `memory.py`, or `gpu.py` those on a GPU, and `autograd.py` tells PyTorch
of the gradient that these give along with the loss.
"""

from .functional import binary_cross_entropy_with_logits, cross_entropy
from .memory import empty_cache
from .modules import BCEWithLogitsLoss, CrossEntropyLoss

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "empty_cache",
]
