"""Wide ResNet: 6n+4 layers, BN and ReLU before each convolution, three stages of 16k, 32k and 64k channels.

Zagoruyko & Komodakis 2016, with the details of the PyTorch port that the paper uses: convolutions
with bias, dropout after the first convolution of a block, the stride in the second, 1x1 convolutions without
BN as shortcuts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.model.base import require_pixels
from bimp_exp.types import Count, Share


class Block(nn.Module):
    """[N, in, H, W] -> [N, out, ceil(H/stride), ceil(W/stride)]."""

    def __init__(self, num_in: int, num_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_in)
        self.conv1 = nn.Conv2d(num_in, num_out, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, stride, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if num_in != num_out or stride != 1:
            self.shortcut = nn.Conv2d(num_in, num_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.dropout(self.conv1(F.relu(self.bn1(x))))
        out = self.conv2(F.relu(self.bn2(out)))
        return torch.add(out, self.shortcut(x))


class WideResNet(nn.Module):
    """Images [N, C, H, W] -> logits [N, num_classes]; any H, W >= 4; ConfigError unless depth is 6n+4."""

    def __init__(
        self,
        depth: Count,
        widen_factor: Count,
        dropout: Share,
        final_bn_momentum: Share,
        *,
        image_shape: Sequence[int],
        num_classes: int,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ConfigError(f"model.depth: {depth} is not 6n+4 with n >= 1; legal are 10, 16, 22, 28, 34, ...")
        require_pixels(f"wrn{depth}_{widen_factor}", image_shape, smallest=4)  # two strides of 2
        self.conv = nn.Conv2d(image_shape[0], 16, 3, padding=1)
        blocks, num_in = [], 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            for index in range((depth - 4) // 6):
                blocks.append(Block(num_in, width * widen_factor, stride if index == 0 else 1, dropout))
                num_in = width * widen_factor
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(num_in, momentum=final_bn_momentum)
        self.classifier = nn.Linear(num_in, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn(self.blocks(self.conv(images))))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
