"""ResNets of torchvision without their classifier, with dilated last stages, for segmentation; weights come from a local file."""

from __future__ import annotations

from typing import Literal

from torch import nn

Name = Literal["resnet50", "resnet101"]
CHANNELS = {"aux": 1024, "out": 2048}  # of layer3 and layer4


def resnet(name: Name, weights: str | None) -> nn.Module:
    """Images [N, 3, H, W] -> ``aux`` (layer3) and ``out`` (layer4), both of stride 8.

    weights: file with a state_dict of torchvision's whole network (.pt, .pth, .safetensors); None: random ones.
    """
    from torchvision.models import resnet as resnets
    from torchvision.models._utils import IntermediateLayerGetter

    whole = getattr(resnets, name)(weights=None, replace_stride_with_dilation=[False, True, True])
    backbone: nn.Module = IntermediateLayerGetter(whole, {"layer3": "aux", "layer4": "out"})
    if weights is not None:
        from bimp_exp.model.weights import load

        load(backbone, weights, key="model.backbone_weights", left_over="fc.")
    return backbone
