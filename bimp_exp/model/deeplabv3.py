"""DeepLabV3: parallel dilated convolutions over a ResNet (Chen et al. 2017), as torchvision has it.

39.6 million parameters with a ResNet-50, 21 classes and no auxiliary head (Table 3 of the paper: 40 million).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from bimp_exp.model import backbone as backbones
from bimp_exp.model.base import require_pixels
from bimp_exp.model.small_backbone import WIDTHS, SmallBackbone


class DeepLabV3(nn.Module):
    """Images [N, 3, H, W] -> logits [N, num_classes, H, W]; in train mode, with an auxiliary head, ``out`` and ``aux``.

    backbone: ``small`` is one for images of 32x32 pixels, with narrower heads and smaller dilation.
    aux_head: a second head on the third stage, for training; the paper's network has none.
    backbone_weights: file with weights of torchvision's network for ImageNet; None: random ones.
    """

    task: ClassVar[str] = "segmentation"

    def __init__(
        self,
        backbone: Literal["resnet50", "resnet101", "small"],
        aux_head: bool,
        backbone_weights: str | None,
        *,
        image_shape: Sequence[int],
        num_classes: int,
    ) -> None:
        from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead
        from torchvision.models.segmentation.fcn import FCNHead

        super().__init__()
        require_pixels("deeplabv3", image_shape, smallest=4 if backbone == "small" else 8)
        self.backbone: nn.Module
        self.aux_classifier: nn.Module | None = None
        if backbone == "small":
            self.backbone, (_, num_aux, num_out) = SmallBackbone(image_shape[0]), WIDTHS
        else:
            self.backbone = backbones.resnet(backbone, backbone_weights)
            num_aux, num_out = backbones.CHANNELS["aux"], backbones.CHANNELS["out"]
        # Before the other head, so that the convolution that gives the logits is the last one: selectors may spare the last.
        if aux_head:
            self.aux_classifier = FCNHead(num_aux, num_classes)
        if backbone == "small":
            last = [nn.Conv2d(num_out, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]
            self.classifier = nn.Sequential(
                ASPP(num_out, [1, 2, 3], num_out), *last, nn.Conv2d(num_out, num_classes, 1)
            )
        else:
            self.classifier = DeepLabHead(num_out, num_classes)

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        size = images.shape[-2:]
        features = self.backbone(images)
        out = F.interpolate(self.classifier(features["out"]), size=size, mode="bilinear", align_corners=False)
        if self.aux_classifier is None or not self.training:
            return out
        aux = F.interpolate(self.aux_classifier(features["aux"]), size=size, mode="bilinear", align_corners=False)
        return {"out": out, "aux": aux}
