"""From the folder of a finished run to a network that needs no bimp_exp: without its pruned channels, checked and timed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from bimp_exp import files
from bimp_exp.config.build import build
from bimp_exp.config.check import check_part
from bimp_exp.config.trust import from_file
from bimp_exp.dataset.base import Dataset
from bimp_exp.errors import DataError, UserError
from bimp_exp.export import comparison, formats
from bimp_exp.export.latency import interleaved
from bimp_exp.export.shrink import shrink
from bimp_exp.results import provenance
from bimp_exp.run import checkpoint
from bimp_exp.run.process import Process

TOLERANCE = 1e-5  # of the largest output of the masked network
MAX_IMAGES = 1000  # test images that outputs are compared on


def export_run(
    folder: Path, process: Process, *, onnx: bool, batch_size: int, allow: Collection[str] = ()
) -> dict[str, Any]:
    """Write export.pt2 and export.json into ``folder``, which holds a finished run; the content of export.json.

    onnx: also write export.onnx.
    batch_size: latency is measured for one image and for so many, and of the two forms of ``shrink`` the one that is faster at
        this size is written.
    allow: modules that config.yaml may name beside bimp_exp's own.

    UserError where the run is not finished, the network cannot be traced, or a written network would differ from the masked one
    by more than TOLERANCE; then no file is written.
    """
    if onnx:
        formats.check_onnx()
    for name in ("config.yaml", "model.pt", "result.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: there is no {name}, so this is not the folder of a finished run")
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text())
        dataset_config, model_config, threads = config["dataset"], config["model"], config["runtime"]["threads"]
    except (yaml.YAMLError, KeyError, TypeError):
        raise DataError(f"{path}: not the configuration of a run") from None
    parts = {"dataset": dataset_config, "model": model_config}
    from_file(parts, path, allow)
    for group, part in parts.items():
        check_part(part, group)
    if threads is not None:
        process.use_threads(threads)
    dataset: Dataset = build(dataset_config)
    if dataset.task != "classification":
        raise UserError(f"{folder}: only networks for classification can be exported, this one is for {dataset.task}")
    image_shape, make = dataset.facts["image_shape"], build(model_config)
    dense, masked = (make(**dataset.facts).eval().requires_grad_(False) for _ in range(2))
    checkpoint.load(str(folder / "model.pt"), masked, origin=str(folder / "model.pt"))
    networks: dict[str, nn.Module] = {"dense": dense, "masked": masked}
    networks["coupled"] = shrink(masked, image_shape, sums="coupled")
    networks["free"] = shrink(masked, image_shape, sums="free")
    sizes = {name: comparison.size(network, image_shape) for name, network in networks.items()}
    if sizes["free"]["multiply_adds"] == sizes["coupled"]["multiply_adds"]:
        del networks["free"], sizes["free"]  # nothing gained by its sums
    images = _test_images(dataset)
    latency = {
        str(size): comparison.timing(interleaved(networks, images[torch.arange(size) % len(images)]))
        for size in dict.fromkeys((1, batch_size))
    }
    speedups = latency[str(batch_size)]["speedup"]
    written = max((name for name in ("coupled", "free") if name in sizes), key=lambda name: speedups[name]["median"])

    contents = {"export.pt2": formats.to_pt2(networks[written], images[:2])}
    read = {"export.pt2": formats.from_pt2(contents["export.pt2"])}
    if onnx:
        contents["export.onnx"] = formats.to_onnx(networks[written], images[:2])
        read["export.onnx"] = formats.from_onnx(contents["export.onnx"])
    expected = _outputs(masked, images, batch_size)
    checks = {name: check(name, expected, _outputs(network, images, batch_size)) for name, network in read.items()}
    result = {
        "verdict": comparison.verdict(written, sizes, latency),
        "written": written,
        "networks": sizes,
        "theoretical_speedup": comparison.theoretical_speedup(masked, image_shape),
        "latency": latency,
        "files": {name: {"num_bytes": len(content)} | checks[name] for name, content in contents.items()},
        "threads": torch.get_num_threads(),
        "processor": provenance.machine()["processor"],
        "torch": torch.__version__,
    }
    for name, content in contents.items():
        files.write(folder / name, content)
    files.write_json(folder / "export.json", result)
    return result


def check(name: str, expected: Tensor, outputs: Tensor) -> dict[str, float]:
    """The largest difference between two outputs [N, classes], relative to the largest that is expected.

    UserError where it is above TOLERANCE or not a number. name: of the file that gave ``outputs``.
    """
    largest = expected.abs().max().item()
    difference = (outputs - expected).abs().max().item()
    if not difference <= TOLERANCE * largest:  # so that not-a-number is refused too
        raise UserError(
            f"{name}: outputs differ by up to {difference:.3g} from those of model.pt, whose largest is {largest:.3g}; "
            f"at most {TOLERANCE:g} of it is accepted, so nothing was written"
        )
    return {
        "max_difference": difference / largest if largest else 0.0,
        "largest_output": largest,
        "num_images": len(expected),
    }


def _test_images(dataset: Dataset) -> Tensor:
    """The first test images as the network sees them, at least two."""
    data = dataset.load(torch.device("cpu"))
    images: Tensor = next(data.batches(data.test, MAX_IMAGES)).inputs
    if len(images) < 2:
        raise DataError("dataset.num_test_images must be at least 2 to export a network for any number of images")
    return images


def _outputs(network: formats.Network | nn.Module, images: Tensor, batch_size: int) -> Tensor:
    with torch.inference_mode():
        return torch.cat([network(part) for part in torch.split(images, batch_size)])
