"""The check that every network of this package makes: that its strides leave something of the image."""

from __future__ import annotations

from collections.abc import Sequence

from bimp_exp.errors import ConfigError


def require_pixels(name: str, image_shape: Sequence[int], smallest: int) -> None:
    """Raise ConfigError for images (channels, height, width) with a side below ``smallest`` pixels."""
    _, height, width = image_shape
    if min(height, width) < smallest:
        raise ConfigError(
            f"model: {name} needs images of at least {smallest}x{smallest} pixels, not {height}x{width}; "
            "choose a dataset of larger images, or model=resnet20, which takes 4x4 and more"
        )
