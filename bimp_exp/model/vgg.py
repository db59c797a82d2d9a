"""VGG-16 for CIFAR: 13 convolutions with bias and BN, five max-poolings and one linear classifier.

Simonyan & Zisserman 2015, configuration D, as in Lee et al. 2021 (LAMP): 14.7 million parameters
with 10 classes. The paper's table 3 says 138 million, which is the ImageNet network with three linear layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bimp_exp.model.base import require_pixels

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # output channels


class VGG16(nn.Module):
    """Images [N, C, H, W] -> logits [N, num_classes]; any H, W >= 32 (ConfigError below)."""

    def __init__(self, *, image_shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        require_pixels("vgg16", image_shape, smallest=2 ** len(STAGES))  # a pooling halves each side
        layers: list[nn.Module] = []
        num_in = image_shape[0]
        for stage in STAGES:
            for num_out in stage:
                layers += [nn.Conv2d(num_in, num_out, 3, padding=1), nn.BatchNorm2d(num_out), nn.ReLU()]
                num_in = num_out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(num_in, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        # The mean is over one pixel for 32x32 images, and lets larger ones in.
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
