"""MaxViT: convolutions, and attention within blocks and along a grid (Tu et al. 2022), as torchvision has it.

30.9 million parameters in the size ``maxvit_t`` with 1,000 classes (Table 3 of the paper: 31 million).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count, Fraction, Share


class MaxViT(nn.Module):
    """Images [N, 1 or 3, H, W] -> logits [N, num_classes]; grey images are given as three equal channels.

    stem_channels: given out by the first two convolutions. block_channels: of each stage; it begins with a stride of 2.
    block_layers: pairs of attention in each stage. head_dim: channels of a head of attention.
    partition_size: side of a block, and of the grid, that attention is among: it has to divide the side of every stage.
    stochastic_depth: probability of leaving out the last layer while training; it grows linearly from 0 in the first one.
    bn_momentum: of new statistics in the running ones of batch-norm.
    enlarge: by how much images are enlarged (bilinear) before the first convolution; 1: not at all.
    """

    def __init__(
        self,
        stem_channels: Count,
        block_channels: list[Count],
        block_layers: list[Count],
        head_dim: Count,
        partition_size: Count,
        stochastic_depth: Share,
        bn_momentum: Fraction,
        enlarge: Count,
        *,
        image_shape: Sequence[int],
        num_classes: int,
    ) -> None:
        from torchvision.models.maxvit import MaxVit

        super().__init__()
        channels, *sides = image_shape
        if channels not in (1, 3):
            raise ConfigError(f"model: maxvit takes images of 1 or 3 channels, not {channels}")
        if len(block_channels) != len(block_layers):
            raise ConfigError(
                f"model.block_layers has {len(block_layers)} stages, but model.block_channels has {len(block_channels)}"
            )
        if any(width % head_dim for width in block_channels):
            raise ConfigError(
                f"model.head_dim={head_dim} must divide each of model.block_channels={list(block_channels)}"
            )
        self.enlarge = enlarge
        smallest = partition_size * 2 ** (1 + len(block_channels))  # strides of the stem and of every stage
        if any(side * enlarge % smallest for side in sides):
            height, width = (side * enlarge for side in sides)
            raise ConfigError(
                f"model: maxvit needs images of {smallest}x{smallest} pixels or a multiple of that, not {height}x{width}: "
                "change the size of the images, model.enlarge or model.partition_size"
            )
        self.network = MaxVit(
            input_size=(sides[0] * enlarge, sides[1] * enlarge),
            stem_channels=stem_channels,
            block_channels=list(block_channels),
            block_layers=list(block_layers),
            head_dim=head_dim,
            partition_size=partition_size,
            stochastic_depth_prob=stochastic_depth,
            norm_layer=partial(nn.BatchNorm2d, eps=1e-3, momentum=bn_momentum),
            num_classes=num_classes,
        )

    def forward(self, images: Tensor) -> Tensor:
        x = images.expand(-1, 3, -1, -1)
        if self.enlarge > 1:
            x = F.interpolate(x, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        logits: Tensor = self.network(x)
        return logits
