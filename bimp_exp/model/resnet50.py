"""ResNet-50 for ImageNet: a 7x7 stem with max-pooling and four stages of 3, 4, 6 and 3 bottlenecks.

He et al. 2016, Deep Residual Learning, table 1, in torchvision's form, which the paper uses: the stride is in the 3x3
convolution of a bottleneck (v1.5). Names and initial weights are torchvision's too (Kaiming normal by fan-out): a
state_dict of its network is a ``dense_checkpoint``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from bimp_exp.model.base import require_pixels

EXPANSION = 4  # of the channels by a bottleneck's last convolution


class Bottleneck(nn.Module):
    """[N, in, H, W] -> [N, 4 width, ceil(H/stride), ceil(W/stride)]."""

    def __init__(self, num_in: int, width: int, stride: int) -> None:
        super().__init__()
        num_out = EXPANSION * width
        self.conv1 = nn.Conv2d(num_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, num_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(num_out)
        self.downsample: nn.Module = nn.Identity()
        if num_in != num_out:
            self.downsample = nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class ResNet50(nn.Module):
    """Images [N, C, H, W] -> logits [N, num_classes]; any H, W >= 32 (ConfigError below)."""

    def __init__(self, *, image_shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        require_pixels("resnet50", image_shape, smallest=32)  # five strides of 2
        self.conv1 = nn.Conv2d(image_shape[0], 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(64, 64, 3, stride=1)
        self.layer2 = _stage(256, 128, 4, stride=2)
        self.layer3 = _stage(512, 256, 6, stride=2)
        self.layer4 = _stage(1024, 512, 3, stride=2)
        self.fc = nn.Linear(2048, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _stage(num_in: int, width: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    later = [Bottleneck(EXPANSION * width, width, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(Bottleneck(num_in, width, stride), *later)
