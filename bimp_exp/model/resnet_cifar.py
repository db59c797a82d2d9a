"""The thin ResNet for CIFAR: 6n+2 layers in three stages of 16, 32 and 64 channels.

He et al. 2016, Deep Residual Learning, section 4.2. Shortcuts without weights (their option A):
where a stage begins, every second pixel is taken and the new channels are zero. Convolutions without bias,
weights initialised as PyTorch does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.model.base import require_pixels
from bimp_exp.types import Count


class Block(nn.Module):
    """[N, in, H, W] -> [N, out, ceil(H/stride), ceil(W/stride)]."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.stride = stride
        self.num_new = num_out - num_in

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.num_new:  # as in the published code, half of the zero channels come before the others and half behind
            half = self.num_new // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.num_new - half))
        return F.relu(out + x)


class ResNetCifar(nn.Module):
    """Images [N, C, H, W] -> logits [N, num_classes]; any H, W >= 4; ConfigError unless depth is 6n+2."""

    def __init__(self, depth: Count, *, image_shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ConfigError(f"model.depth: {depth} is not 6n+2 with n >= 1; legal are 8, 14, 20, 26, 32, ...")
        require_pixels(f"resnet{depth}", image_shape, smallest=4)  # two strides of 2
        self.conv = nn.Conv2d(image_shape[0], 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        blocks, num_in = [], 16
        for num_out, stride in ((16, 1), (32, 2), (64, 2)):
            for index in range((depth - 2) // 6):
                blocks.append(Block(num_in, num_out, stride if index == 0 else 1))
                num_in = num_out
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.conv(images))))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
