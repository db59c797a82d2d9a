from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, RandomResizedCrop, Resize
from torchvision.transforms.functional import hflip, resized_crop

from bimp_exp.dataset.decode import DecodeError, Recipe, Request, random_box
from tests.dataset.pictures import SIZES, jpeg, picture

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")  # torchvision's of itself

RECIPE = Recipe(shape=(3, 32, 24), resize=40, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=True, decoder="pil")
BILINEAR = InterpolationMode.BILINEAR


def written(folder: Path, image: Image.Image, *, before: int = 0) -> tuple[Request, Image.Image]:
    """An evaluation's request for ``image`` after ``before`` other bytes, and what Pillow makes of its JPEG."""
    encoded = jpeg(image)
    file = folder / "image"
    file.write_bytes(b"x" * before + encoded + b"y" * before)
    (folder / "alone").write_bytes(encoded)
    return Request(str(file), before, len(encoded), None), Image.open(folder / "alone").convert("RGB")


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_evaluation_is_resize_and_centre_crop_of_torchvision(number: int, tmp_path: Path) -> None:
    request, image = written(tmp_path, picture(number), before=7)
    theirs = Compose([Resize(40, BILINEAR), CenterCrop((32, 24))])(image)
    assert np.array_equal(RECIPE.pixels(request), np.asarray(theirs))


def test_training_is_resized_crop_and_flip_of_torchvision(tmp_path: Path) -> None:
    request, image = written(tmp_path, picture(3))
    flipped = 0
    for seed in range(20):
        draw = random.Random(seed)
        box = random_box(image.height, image.width, (0.08, 1.0), (3 / 4, 4 / 3), draw)
        theirs = resized_crop(image, *box, [32, 24], BILINEAR)
        flip = draw.random() < 0.5
        flipped += flip
        ours = RECIPE.pixels(request._replace(seed=seed))
        assert np.array_equal(ours, np.asarray(hflip(theirs) if flip else theirs))
        unflipped = replace(RECIPE, flip=False).pixels(request._replace(seed=seed))
        assert np.array_equal(unflipped, np.asarray(theirs))
    assert 0 < flipped < 20


def test_a_random_box_lies_inside_and_has_the_area_and_ratio_asked_for() -> None:
    draw = random.Random(0)
    boxes = [
        random_box(1000, 1000, (0.08, 0.5), (3 / 4, 4 / 3), draw) for _ in range(4000)
    ]  # half the area always fits
    assert all(0 <= b.top <= 1000 - b.height and 0 <= b.left <= 1000 - b.width for b in boxes)
    areas, ratios = [b.height * b.width / 1e6 for b in boxes], [b.width / b.height for b in boxes]
    assert (min(areas), max(areas)) == pytest.approx((0.08, 0.5), abs=2e-3)
    assert (min(ratios), max(ratios)) == pytest.approx((0.75, 1.333), abs=5e-3)
    assert mean(areas) == pytest.approx(0.29, abs=0.01)  # uniform in area, not in side
    assert mean(r < 1 for r in ratios) == pytest.approx(0.5, abs=0.03)  # uniform in the logarithm of the ratio
    assert mean(b.top / (1000 - b.height) for b in boxes) == pytest.approx(0.5, abs=0.03)
    assert mean(b.left / (1000 - b.width) for b in boxes) == pytest.approx(0.5, abs=0.03)


def test_a_random_box_may_touch_every_edge() -> None:
    draw = random.Random(0)
    boxes = {random_box(4, 5, (0.2, 0.2), (1, 1), draw) for _ in range(300)}  # 2 x 2 pixels
    assert boxes == {(top, left, 2, 2) for top in (0, 1, 2) for left in (0, 1, 2, 3)}


@pytest.mark.parametrize("size", [(10, 100), (100, 10), (50, 50)])
def test_where_no_box_fits_it_is_torchvisions_central_one(size: tuple[int, int]) -> None:
    scale, ratio = (2.0, 2.0), (3 / 4, 4 / 3)
    theirs = RandomResizedCrop.get_params(Image.new("L", size), list(scale), list(ratio))
    assert tuple(random_box(size[1], size[0], scale, ratio, random.Random(0))) == theirs


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_kind_of_image_becomes_what_the_network_takes(mode: str, tmp_path: Path) -> None:
    request, image = written(tmp_path, picture(0).convert(mode))
    square = replace(RECIPE, shape=(3, 40, 40))
    assert np.array_equal(square.pixels(request), np.asarray(CenterCrop(40)(Resize(40, BILINEAR)(image))))
    grey = replace(RECIPE, shape=(1, 40, 40)).pixels(request)
    assert grey.shape == (40, 40, 1)
    assert abs(grey.mean() - np.asarray(image.convert("L")).mean()) < 5


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_torchvision_decodes_the_same_but_for_rounding(mode: str, seed: int | None, tmp_path: Path) -> None:
    request, _ = written(tmp_path, picture(1).convert(mode))
    ours, theirs = (
        replace(RECIPE, decoder=decoder).pixels(request._replace(seed=seed)).astype(int)  # type: ignore[arg-type]
        for decoder in ("pil", "torchvision")
    )
    assert abs(ours - theirs).max() <= 2
    assert abs(ours - theirs).mean() < 0.5


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
def test_what_is_no_image_or_only_part_of_one_is_refused_in_a_line(decoder: str, tmp_path: Path) -> None:
    request, _ = written(tmp_path, picture(0))
    recipe = replace(RECIPE, decoder=decoder)  # type: ignore[arg-type]
    for broken in (request._replace(size=request.size // 2), request._replace(offset=5, size=request.size - 5)):
        with pytest.raises(DecodeError, match=r"^not a readable image \(.+\)$"):
            recipe.pixels(broken)
    with pytest.raises(DecodeError, match=r"^has changed since it was listed: \d+ bytes, not \d+$"):
        recipe.pixels(request._replace(size=request.size + 1))
    with pytest.raises(DecodeError, match=r"^cannot be read \(No such file or directory\)$"):
        recipe.pixels(request._replace(path=str(tmp_path / "gone")))
