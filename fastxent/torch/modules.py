"""The modules: PyTorch's own, with another forward."""

from __future__ import annotations

import torch
from torch import Tensor

from . import functional


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss` over `fastxent.torch.cross_entropy`, whose arguments these are.

    Examples
    --------
    >>> import torch
    >>> CrossEntropyLoss(label_smoothing=0.1)(torch.zeros(1, 4), torch.tensor([2]))
    tensor(1.3863)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        inplace: bool = False,
    ) -> None:
        functional.refuse_deprecated(size_average, reduce)
        super().__init__(
            weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
        )
        self.inplace = inplace

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            inplace=self.inplace,
        )

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    """`torch.nn.BCEWithLogitsLoss` over `fastxent.torch.binary_cross_entropy_with_logits`, whose arguments
    these are.

    Examples
    --------
    >>> import torch
    >>> BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))(torch.zeros(2), torch.tensor([1.0, 0.0]))
    tensor(1.3863)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        *,
        inplace: bool = False,
    ) -> None:
        functional.refuse_deprecated(size_average, reduce)
        super().__init__(weight, reduction=reduction, pos_weight=pos_weight)
        self.inplace = inplace

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            inplace=self.inplace,
        )

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""
