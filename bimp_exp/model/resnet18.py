"""ResNet-18 for small images: a 3x3 stem of stride 1 and no max-pooling, otherwise the network for ImageNet.

He et al. 2016, Deep Residual Learning, table 1: four stages of two blocks, shortcuts by a 1x1
convolution with BN where the shape changes (option B).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from bimp_exp.model.base import require_pixels


class Block(nn.Module):
    """[N, in, H, W] -> [N, out, ceil(H/stride), ceil(W/stride)]."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.shortcut: nn.Module = nn.Identity()
        if num_in != num_out:
            projection = nn.Conv2d(num_in, num_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class ResNet18(nn.Module):
    """Images [N, C, H, W] -> logits [N, num_classes]; any H, W >= 8 (ConfigError below)."""

    def __init__(self, *, image_shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        require_pixels("resnet18", image_shape, smallest=8)  # three strides of 2
        self.conv = nn.Conv2d(image_shape[0], 64, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        blocks, num_in = [], 64
        for num_out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [Block(num_in, num_out, stride), Block(num_out, num_out, 1)]
            num_in = num_out
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.conv(images))))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
