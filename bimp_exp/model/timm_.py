"""Any network for classification of the package timm (Wightman 2019, PyTorch Image Models), by its name there."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from bimp_exp.errors import ConfigError
from bimp_exp.extras import extra
from bimp_exp.model import weights as files


def create(name: str, weights: str | None, *, image_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Images [N, C, H, W] -> logits [N, num_classes]; ConfigError where there is no such network or not for such images.

    weights: file with a state_dict of it; a classifier of another number of classes is left out. None: random ones. Nothing is
        downloaded.
    """
    with extra("tasks", "model=timm"):
        import timm
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), 3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ConfigError(f"model.name={name}: timm {timm.__version__} has no such network{hint}")
    channels, *size = image_shape
    common: dict[str, Any] = {"pretrained": False, "num_classes": num_classes, "in_chans": channels}
    try:
        model = _made(name, common | {"img_size": tuple(size)})
    except Exception as error:
        if isinstance(error, TypeError) and "img_size" in str(error):  # a network for images of any size
            model = _made(name, common)
        else:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            images = " x ".join(map(str, image_shape))
            raise ConfigError(
                f"model.name={name}: not for images of {images} ({reason or type(error).__name__})"
            ) from None
    if weights is not None:
        files.load(model, weights, key="model.weights", heads=_classifier(model))
    return model


def _made(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, **options)
    return model


def _classifier(model: nn.Module) -> tuple[str, ...]:
    """Names of the modules that give the logits."""
    named: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)
