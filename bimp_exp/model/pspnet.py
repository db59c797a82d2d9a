"""PSPNet: a dilated ResNet, pooling over 1, 2, 3 and 6 bins a side, and an auxiliary head (Zhao et al. 2017, Section 3.3).

With the plain stem of torchvision's ResNet, whose weights fit it; 67.9 million parameters with a ResNet-101 and 19 classes (Table 3
of the paper: 68 million). The auxiliary head acts in train mode only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimp_exp.model import backbone as backbones
from bimp_exp.model.base import require_pixels
from bimp_exp.model.small_backbone import WIDTHS, SmallBackbone
from bimp_exp.types import Count, Share

BINS = (1, 2, 3, 6)


class Pyramid(nn.Module):
    """[N, C, H, W] -> [N, C + 4 width, H, W]: the input, and its means over the bins of four grids, enlarged again."""

    def __init__(self, num_in: int, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv(num_in, width, 1) for _ in BINS)

    def forward(self, x: Tensor) -> Tensor:
        pooled = (conv(_pool(x, bins)) for conv, bins in zip(self.convs, BINS, strict=True))
        return torch.cat([x, *(_enlarge(each, x.shape[-2:]) for each in pooled)], 1)


class PSPNet(nn.Module):
    """Images [N, 3, H, W] -> logits [N, num_classes, H, W]; in train mode ``out`` and ``aux``, each of that shape.

    backbone: ``small`` is one for images of 32x32 pixels.
    width, aux_width: channels of the two heads.
    dropout: of whole channels, before the last convolution of each head.
    backbone_weights: file with weights of torchvision's network for ImageNet; None: random ones.
    """

    task: ClassVar[str] = "segmentation"

    def __init__(
        self,
        backbone: Literal["resnet50", "resnet101", "small"],
        width: Count,
        aux_width: Count,
        dropout: Share,
        backbone_weights: str | None,
        *,
        image_shape: Sequence[int],
        num_classes: int,
    ) -> None:
        super().__init__()
        require_pixels("pspnet", image_shape, smallest=4 if backbone == "small" else 8)
        self.backbone: nn.Module
        if backbone == "small":
            self.backbone, (_, num_aux, num_out) = SmallBackbone(image_shape[0]), WIDTHS
        else:
            self.backbone = backbones.resnet(backbone, backbone_weights)
            num_aux, num_out = backbones.CHANNELS["aux"], backbones.CHANNELS["out"]
        # Before the other head, so that the convolution that gives the logits is the last one: selectors may spare the last.
        self.aux_head = _head(num_aux, aux_width, dropout, num_classes)
        self.pyramid = Pyramid(num_out, width)
        self.head = _head(num_out + len(BINS) * width, width, dropout, num_classes)

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        size = images.shape[-2:]
        features = self.backbone(images)
        out = _enlarge(self.head(self.pyramid(features["out"])), size)
        return {"out": out, "aux": _enlarge(self.aux_head(features["aux"]), size)} if self.training else out


def _conv(num_in: int, num_out: int, side: int) -> nn.Sequential:
    convolution = nn.Conv2d(num_in, num_out, side, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(num_out), nn.ReLU())


def _head(num_in: int, width: int, dropout: float, num_classes: int) -> nn.Sequential:
    return nn.Sequential(*_conv(num_in, width, 3), nn.Dropout2d(dropout), nn.Conv2d(width, num_classes, 1))


def _pool(x: Tensor, bins: int) -> Tensor:
    """nn.AdaptiveAvgPool2d(bins), whose backward pass is not deterministic on a GPU: a mean of rows, then of columns."""
    for side in (2, 3):
        num = x.shape[side]
        parts = (x.narrow(side, i * num // bins, -(-(i + 1) * num // bins) - i * num // bins) for i in range(bins))
        x = torch.cat([part.mean(side, keepdim=True) for part in parts], side)
    return x


def _enlarge(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=False)
