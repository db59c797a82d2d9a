"""A small residual network of stride 4 for images of 32x32 pixels, on which the small networks for segmentation stand."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 24, 32)


class Block(nn.Module):
    """[N, in, H, W] -> [N, out, ceil(H/2), ceil(W/2)]."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.shortcut = nn.Sequential(nn.Conv2d(num_in, num_out, 1, 2, bias=False), nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class SmallBackbone(nn.Module):
    """Images [N, C, H, W] -> ``aux`` [N, 24, H/2, W/2] and ``out`` [N, 32, H/4, W/4], as torchvision's backbones name them."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        self.block1 = Block(WIDTHS[0], WIDTHS[1])
        self.block2 = Block(WIDTHS[1], WIDTHS[2])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        aux = self.block1(F.relu(self.bn(self.conv(images))))
        return {"aux": aux, "out": self.block2(aux)}
