from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional as tv

from bimp_exp.dataset.augment import Augmentation, Draws, augment, draw


def fixed(top: int, left: int, flip: bool, degrees: float = 0.0) -> Draws:
    """The same choices for a batch of one image."""
    angle = torch.tensor([math.radians(degrees)], dtype=torch.float64)
    return Draws(torch.tensor([top]), torch.tensor([left]), torch.tensor([flip]), angle.cos(), angle.sin())


def slowly(image: torch.Tensor, padding: int, top: int, left: int, flip: bool, degrees: float) -> torch.Tensor:
    """One image [C, H, W], pixel by pixel: pad and crop, then flip, then rotate about the centre."""
    channels, height, width = image.shape
    canvas = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=torch.uint8)
    canvas[:, padding : padding + height, padding : padding + width] = image
    cropped = canvas[:, top : top + height, left : left + width]
    if flip:
        cropped = cropped.flip(2)
    result = torch.zeros_like(image)
    turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    for i in range(height):
        for j in range(width):
            # As a complex number with the imaginary axis up, turning back is a division.
            source = complex(j - (width - 1) / 2, (height - 1) / 2 - i) / turn
            row, column = round((height - 1) / 2 - source.imag), round(source.real + (width - 1) / 2)
            if 0 <= row < height and 0 <= column < width:
                result[:, i, j] = cropped[:, row, column]
    return result


ONE = torch.tensor([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        (fixed(1, 1, False), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (fixed(0, 1, False), [[0, 0, 0], [1, 2, 3], [4, 5, 6]]),
        (fixed(1, 2, False), [[2, 3, 0], [5, 6, 0], [8, 9, 0]]),
        (fixed(1, 1, True), [[3, 2, 1], [6, 5, 4], [9, 8, 7]]),
        (fixed(1, 2, True), [[0, 3, 2], [0, 6, 5], [0, 9, 8]]),  # first the crop, then the flip
        (fixed(1, 1, False, 90), [[3, 6, 9], [2, 5, 8], [1, 4, 7]]),  # counter-clockwise
        (fixed(1, 1, True, 90), [[1, 4, 7], [2, 5, 8], [3, 6, 9]]),  # first the flip, then the rotation
    ],
)
def test_by_hand(draws: Draws, expected: list[list[int]]) -> None:
    result = augment(ONE, draws, Augmentation(crop_padding=1, flip=True, rotation=90))
    assert result.tolist() == [[expected]]


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([0, 15, 180]),
)
def test_equals_pixel_by_pixel(channels: int, height: int, width: int, padding: int, flip: bool, rotation: int) -> None:
    generator = torch.Generator().manual_seed(padding * 100 + height * 10 + width)
    images = torch.randint(1, 256, (5, channels, height, width), dtype=torch.uint8, generator=generator)
    untouched = images.clone()
    augmentation = Augmentation(crop_padding=padding, flip=flip, rotation=rotation)
    draws = draw(augmentation, 5, generator)
    result = augment(images, draws, augmentation)
    for k in range(5):
        degrees = math.degrees(math.atan2(draws.sin[k], draws.cos[k]))
        choices = int(draws.top[k]), int(draws.left[k]), bool(draws.flip[k])
        assert torch.equal(result[k], slowly(images[k], padding, *choices, degrees))
    assert torch.equal(images, untouched)


@pytest.mark.parametrize("degrees", [-14.0, -3.3, 7.1, 15.0])
def test_rotates_as_torchvision(degrees: float) -> None:
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ours = augment(image, fixed(0, 0, False, degrees), Augmentation(crop_padding=0, flip=False, rotation=15))
    assert (ours == tv.rotate(image, degrees)).float().mean() > 0.999  # single precision there, ties may differ


def test_draws_cover_what_is_allowed() -> None:
    draws = draw(Augmentation(crop_padding=4, flip=True, rotation=15), 20_000, torch.Generator().manual_seed(0))
    assert sorted(set(draws.top.tolist())) == sorted(set(draws.left.tolist())) == list(range(9))
    assert not torch.equal(draws.top, draws.left)
    assert draws.flip.float().mean() == pytest.approx(0.5, abs=0.02)
    degrees = torch.rad2deg(torch.atan2(draws.sin, draws.cos))
    assert degrees.abs().max() <= 15
    assert degrees.min() < -14.9
    assert degrees.max() > 14.9
    assert degrees.mean() == pytest.approx(0, abs=0.3)


def test_switching_one_off_leaves_the_others() -> None:
    everything = draw(Augmentation(crop_padding=4, flip=True, rotation=15), 50, torch.Generator().manual_seed(0))
    without_flip = draw(Augmentation(crop_padding=4, flip=False, rotation=15), 50, torch.Generator().manual_seed(0))
    assert not without_flip.flip.any()
    assert torch.equal(everything.top, without_flip.top)
    assert torch.equal(everything.cos, without_flip.cos)
