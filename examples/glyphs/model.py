"""A small network of attention for images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Images [N, C, H, W] -> logits [N, num_classes]: patches, blocks of attention, mean.

    Whoever runs it gives image_shape and num_classes, since they are parameters; the others are keys of conf/model/attention.yaml.
    """

    def __init__(
        self,
        dim: int = 32,
        depth: int = 2,
        heads: int = 4,
        patch: int = 2,
        *,
        image_shape: Sequence[int],
        num_classes: int,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.patches = nn.Conv2d(channels, dim, patch, stride=patch)
        self.places = nn.Parameter(0.02 * torch.randn(1, (height // patch) * (width // patch), dim))
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.classifier(self.norm(self.blocks(x)).mean(1))
        return logits


class Block(nn.Module):
    """[N, L, dim] -> [N, L, dim]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))
