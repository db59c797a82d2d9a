"""An image and its mask go through the same geometry, and what is no mask is told."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode, Resize

from bimp_exp.dataset.decode import DecodeError
from bimp_exp.dataset.masks import Entry, Recipe, Request, table_of
from tests.dataset.scenes import STEP, scene

SHORTER = Recipe(
    resize=48, scale=(0.5, 2), crop=(32, 40), crop_max_class_share=1, flip=True, full_targets=False
)  # as of COCO
WHOLE = replace(SHORTER, resize=(60, 80), crop_max_class_share=0.75, full_targets=True)  # as of Cityscapes


def written(folder: Path, number: int = 0, seed: int | None = None, **changes: Any) -> Request:
    """Image and mask ``number``, of 80 x 60 pixels if it is 0."""
    pixels, classes = scene(number)
    Image.fromarray(pixels).save(folder / "image.png")
    Image.fromarray(classes).save(folder / "mask.png")
    entry = Entry(str(folder / "image.png"), str(folder / "mask.png"), 0, -1, table_of({i: i for i in range(21)}), "")
    return Request(entry._replace(**changes), seed)


@pytest.mark.parametrize("number", range(4))
def test_evaluation_is_the_resize_of_torchvision(number: int, tmp_path: Path) -> None:
    request = written(tmp_path, number)
    pixels, classes = (Image.fromarray(each) for each in scene(number))
    small, target = SHORTER.arrays(request)
    assert np.array_equal(small, np.asarray(Resize(48)(pixels)))
    assert np.array_equal(target, np.asarray(Resize(48, InterpolationMode.NEAREST)(classes)))
    small, target = WHOLE.arrays(request)
    assert np.array_equal(small, np.asarray(Resize((60, 80))(pixels)))
    assert np.array_equal(target, np.asarray(classes))  # of full size


@pytest.mark.parametrize("recipe", [SHORTER, WHOLE], ids=["shorter side", "height and width"])
def test_pixels_and_targets_are_flipped_and_cropped_alike(recipe: Recipe, tmp_path: Path) -> None:
    """The brightness of a pixel tells its class, but for the edge of the box, where two are mixed."""
    seen = set()
    for seed in range(60):
        pixels, target = recipe.arrays(written(tmp_path, number=4, seed=seed))
        assert pixels.shape == (32, 40, 3)
        assert target.shape == (32, 40)
        told = pixels[:, :, 0] == STEP * np.where(target == 255, 0, target)
        assert told.mean() > 0.85
        assert not pixels[target == 255].any()
        seen.add(pixels.tobytes())
    assert len(seen) == 60


@pytest.mark.parametrize("number", [0, 1])
def test_training_is_resize_flip_and_crop_of_the_whole(number: int, tmp_path: Path) -> None:
    """As torchvision's, in its order; the draws are size, flip, top and left."""
    noise = np.random.default_rng(0).integers(0, 256, (*scene(number)[1].shape, 3), dtype=np.uint8)
    for seed in range(20):
        request = written(tmp_path, number, seed)
        Image.fromarray(noise).save(tmp_path / "image.png")
        draw = random.Random(seed)
        side = 24 + int(73 * draw.random())
        pixels, classes = (Image.fromarray(each) for each in (noise, scene(number)[1]))
        pixels, classes = Resize(side)(pixels), Resize(side, InterpolationMode.NEAREST)(classes)
        if draw.random() < 0.5:
            pixels, classes = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (pixels, classes))
        canvas, target = Image.new("RGB", (200, 200)), Image.new("L", (200, 200), 255)
        canvas.paste(pixels), target.paste(classes)
        top = int((max(pixels.height - 32, 0) + 1) * draw.random())
        left = int((max(pixels.width - 40, 0) + 1) * draw.random())
        box = (left, top, left + 40, top + 32)
        ours = SHORTER.arrays(request)
        assert np.array_equal(ours[1], np.asarray(target.crop(box)))
        error = np.abs(ours[0].astype(int) - np.asarray(canvas.crop(box)))
        assert error.max() <= 2  # ties, rounded once for columns and once for rows


def test_the_draws_are_of_their_seed_alone(tmp_path: Path) -> None:
    one, other = (SHORTER.arrays(written(tmp_path, seed=3)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_half_of_the_images_are_flipped_unless_none_is_to_be(tmp_path: Path) -> None:
    still = replace(SHORTER, scale=(1, 1), crop=(48, 64))  # all of it
    plain = still.arrays(written(tmp_path, seed=None))[1]
    flipped = 0
    for seed in range(40):
        target = still.arrays(written(tmp_path, seed=seed))[1]
        assert np.array_equal(target, plain) or np.array_equal(target, plain[:, ::-1])
        flipped += not np.array_equal(target, plain)
        assert np.array_equal(replace(still, flip=False).arrays(written(tmp_path, seed=seed))[1], plain)
    assert 8 <= flipped <= 32  # of 40: more than four standard deviations


def test_small_images_are_padded_right_and_below_after_the_flip(tmp_path: Path) -> None:
    half = replace(SHORTER, scale=(0.5, 0.5))  # 24 x 32
    for seed in range(6):
        pixels, target = half.arrays(written(tmp_path, seed=seed))
        assert (target[24:] == 255).all()
        assert (target[:, 32:] == 255).all()
        assert (target[:24, :32] != 255).all()
        assert not pixels[24:].any()
        assert not pixels[:, 32:].any()


def test_the_shorter_side_is_any_whole_number_of_pixels_from_lowest_to_highest() -> None:
    draw = random.Random(0)
    sizes = [SHORTER.size(60, 80, draw) for _ in range(4000)]
    assert {height for height, _ in sizes} == set(range(24, 97))
    assert all(width == int(height * 80 / 60) for height, width in sizes)
    assert SHORTER.size(80, 60, None) == (64, 48)
    counts = np.bincount([height for height, _ in sizes])[24:]
    assert counts.min() > 20  # 55 each


def test_the_factor_of_height_and_width_is_uniform() -> None:
    draw = random.Random(0)
    sizes = np.array([WHOLE.size(1, 1, draw) for _ in range(4000)])
    assert np.array_equal(sizes.min(0), [30, 40])
    assert np.array_equal(sizes.max(0), [120, 160])
    assert abs(sizes[:, 0].mean() - 75) < 2
    assert WHOLE.size(1, 1, None) == (60, 80)


def test_an_image_keeps_a_pixel(tmp_path: Path) -> None:
    for recipe in (SHORTER, WHOLE):
        tiny = replace(recipe, scale=(0.001, 0.001))
        assert (tiny.arrays(written(tmp_path, seed=0))[1] != 255).sum() == 1


def test_a_crop_of_mostly_one_class_is_drawn_again(tmp_path: Path) -> None:
    """A crop of 8 x 8 of 60 x 80 pixels lies inside the box or the ground most of the time."""
    small = replace(WHOLE, scale=(1, 1), crop=(8, 8))

    def largest_share(recipe: Recipe, seed: int) -> float:
        target = recipe.arrays(written(tmp_path, seed=seed))[1]
        return float(np.bincount(target.ravel()).max() / target.size)

    def mixed(recipe: Recipe) -> int:
        return sum(largest_share(recipe, seed) <= 0.75 for seed in range(60))

    assert mixed(replace(small, crop_max_class_share=1)) < 25 < 45 < mixed(small)


def test_a_mask_of_which_nothing_is_labelled_is_taken_as_it_is(tmp_path: Path) -> None:
    target = WHOLE.arrays(written(tmp_path, seed=0, table=bytes([255] * 256)))[1]
    assert (target == 255).all()


def test_a_palette_means_its_indices_and_a_file_may_hold_several_masks(tmp_path: Path) -> None:
    request = written(tmp_path)
    classes = scene(0)[1]
    plain = SHORTER.arrays(request)[1]
    mask = Image.fromarray(classes)
    mask.putpalette(list(range(255, -1, -1)) * 3)
    stream = io.BytesIO(b"")
    mask.save(stream, "PNG", bits=8)
    (tmp_path / "mask.png").write_bytes(b"before" + stream.getvalue() + b"after")
    inside = request.entry._replace(offset=6, size=len(stream.getvalue()))
    assert np.array_equal(SHORTER.arrays(Request(inside, None))[1], plain)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def four_bits(width: int, height: int) -> bytes:
    """A grey PNG of 4 bits a pixel that is all 1, which Pillow would read as 17."""
    import struct
    import zlib

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + b"\x11" * (-(-width // 2))) * height
    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mask.png", png(Image.new("L", (60, 80))), "the image has 80 x 60 pixels, the mask 60 x 80"),
        ("mask.png", png(Image.new("L", (80, 60), 21)), "the mask has the value 21, which is no class"),
        ("mask.png", png(Image.new("RGB", (80, 60))), "the mask must be a PNG of 8-bit grey values or of a palette"),
        ("mask.png", png(Image.new("I;16", (80, 60))), "the mask must be a PNG of 8-bit grey values or of a palette"),
        ("mask.png", png(Image.new("1", (80, 60))), "the mask must be a PNG of 8-bit grey values or of a palette"),
        ("mask.png", four_bits(80, 60), "the mask must be a PNG of 8-bit grey values or of a palette"),
        ("mask.png", png(Image.new("L", (80, 60)))[:-30], "the mask is not readable ("),
        ("mask.png", b"", "the mask is not readable ("),
        ("image.png", png(Image.fromarray(scene(0)[0]))[:-30], "the image is not readable ("),
        ("image.png", None, "the image is not readable ("),
    ],
)
@pytest.mark.parametrize("seed", [None, 0])
def test_what_is_no_pair_is_told(
    file: str, content: bytes | None, message: str, seed: int | None, tmp_path: Path
) -> None:
    request = written(tmp_path, seed=seed)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(DecodeError) as error:
        SHORTER.arrays(request)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
