"""A finished run's folder gets a network that needs no bimp_exp, and the figures about it; or one line and nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from bimp_exp.cli.main import main
from bimp_exp.errors import UserError
from bimp_exp.export import comparison, from_run, latency
from bimp_exp.export.latency import Quartiles
from bimp_exp.model.resnet_cifar import ResNetCifar
from bimp_exp.run.process import Process
from tests.conftest import composed
from tests.export.helpers import relative_difference, without_filters


def digits_network() -> nn.Module:
    torch.manual_seed(0)
    model = ResNetCifar(8, image_shape=(1, 8, 8), num_classes=10).eval().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.bias.data.normal_()
    return model


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a run on digits leaves, as far as an export reads it, with half of the filters pruned."""
    monkeypatch.setattr(latency, "MAX_ROUNDS", 3)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(composed("model.depth=8")))
    torch.save(without_filters(digits_network(), 0.5).state_dict(), tmp_path / "model.pt")
    (tmp_path / "result.json").write_text("{}")
    return tmp_path


def exported(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"config.yaml", "model.pt", "result.json"}


def export(folder: Path, **how: Any) -> dict[str, Any]:
    with Process() as process:
        return from_run.export_run(folder, process, **how)


USE = """
import sys
sys.modules["bimp_exp"] = None  # any import of it fails
import torch
images = torch.load("images.pt")
network = torch.export.load("export.pt2").module()
torch.save([network(images[:1]), network(images)], "outputs.pt")
"""


def test_the_file_is_a_network_without_bimp_exp(finished: Path) -> None:
    result = export(finished, onnx=False, batch_size=4)
    assert exported(finished) == {"export.pt2", "export.json"}
    assert json.loads((finished / "export.json").read_text()) == result
    images = torch.randn(5, 1, 8, 8)
    torch.save(images, finished / "images.pt")
    subprocess.run([sys.executable, "-c", USE], cwd=finished, check=True)
    one, all_five = torch.load(finished / "outputs.pt")
    expected = without_filters(digits_network(), 0.5)(images)
    assert relative_difference(expected, all_five) <= 1e-5
    assert relative_difference(expected[:1], one) <= 1e-5


def test_the_figures(finished: Path) -> None:
    result = export(finished, onnx=False, batch_size=4)
    sizes = result["networks"]
    assert list(sizes) == ["dense", "masked", "coupled", "free"]
    # ResNet-20 less two blocks a stage: 269,434 - 2 * 97,216 parameters (tests/model/test_models.py).
    assert sizes["dense"]["num_parameters"] == sizes["masked"]["num_parameters"] == 269_434 - 2 * 97_216
    assert sizes["dense"]["multiply_adds"] == sizes["masked"]["multiply_adds"]
    assert sizes["free"]["multiply_adds"] < sizes["coupled"]["multiply_adds"] < sizes["dense"]["multiply_adds"]
    assert list(result["latency"]) == ["1", "4"]
    assert result["latency"]["4"]["num_rounds"] == 3
    speedups = result["latency"]["4"]["speedup"]
    assert result["written"] == max(("coupled", "free"), key=lambda name: speedups[name]["median"])
    file = result["files"]["export.pt2"]
    assert file["num_bytes"] == (finished / "export.pt2").stat().st_size
    assert file["num_images"] == 360
    assert file["max_difference"] <= 1e-5


def test_onnx_agrees_for_any_number_of_images(finished: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert export(finished, onnx=True, batch_size=4)["files"]["export.onnx"]["max_difference"] <= 1e-5
    session = onnxruntime.InferenceSession(finished / "export.onnx")
    for num_images in (1, 5):
        images = torch.randn(num_images, 1, 8, 8)
        (outputs,) = session.run(["outputs"], {"images": images.numpy()})
        expected = without_filters(digits_network(), 0.5)(images)
        assert relative_difference(expected, torch.from_numpy(outputs)) <= 1e-5


def test_an_unstructured_result_gains_nothing_and_says_so(finished: Path) -> None:
    model = digits_network()
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter[torch.rand_like(parameter) < 0.5] = 0
    torch.save(model.state_dict(), finished / "model.pt")
    result = export(finished, onnx=False, batch_size=2)
    assert list(result["networks"]) == ["dense", "masked", "coupled"]
    assert result["networks"]["coupled"] == result["networks"]["masked"]
    assert result["theoretical_speedup"] > 1.9
    assert result["verdict"].startswith("no gain: every channel depends on the image")


def test_a_network_that_differs_is_refused_and_nothing_is_left(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: nn.Module, *arguments: Any, **options: Any) -> nn.Module:
        small = run_shrink(model, *arguments, **options)
        small.get_submodule("classifier").bias += 0.01
        return small

    run_shrink = from_run.shrink
    monkeypatch.setattr(from_run, "shrink", wrong)
    with pytest.raises(UserError, match=r"^export\.pt2: outputs differ by up to 0\.01 "):
        export(finished, onnx=False, batch_size=4)
    assert exported(finished) == set()


@pytest.mark.parametrize("outputs", [[1.0, 2.1], [1.0, float("nan")]])
def test_what_is_not_equal_is_refused(outputs: list[float]) -> None:
    with pytest.raises(UserError):
        from_run.check("file", torch.tensor([[1.0, 2.0]]), torch.tensor([outputs]))


def test_outputs_of_zero_are_equal_to_themselves() -> None:
    assert from_run.check("file", torch.zeros(2, 3), torch.zeros(2, 3))["max_difference"] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("result.json", None, "there is no result.json, so this is not the folder of a finished run"),
        ("config.yaml", b"[", "config.yaml: not the configuration of a run"),
        ("config.yaml", b"model: 3", "config.yaml: not the configuration of a run"),
        ("model.pt", b"torn", "model.pt: not a file that torch.save wrote, or a damaged one"),
    ],
)
def test_a_folder_that_is_no_finished_run_is_one_line(
    finished: Path, name: str, content: bytes | None, message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if content is None:
        (finished / name).unlink()
    else:
        (finished / name).write_bytes(content)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert main(["export", str(finished)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {finished}")
    assert said.endswith(message + "\n")
    assert said.count("\n") == 1
    assert exported(finished) == set()


def test_the_program_shows_its_verdict(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(finished), "--batch-size", "3"]) == 0
    said = capsys.readouterr().out
    assert all(
        name in said for name in ("dense", "masked", "coupled", "free", "ms,", "batch 3", "theoretical speed-up")
    )
    assert f"verdict: {json.loads((finished / 'export.json').read_text())['verdict']}\n" in said


def test_networks_take_turns_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MAX_ROUNDS", 2)
    calls = ""

    def called(name: str) -> Any:
        def forward(images: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += name
            return images

        return forward

    seconds = latency.interleaved({"a": called("a"), "b": called("b")}, torch.zeros(1))
    assert calls == "ababab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_speedup_is_paired_by_round() -> None:
    # A slow round is slow for both: ratios 2, 2, 4, though the medians are 4 and 2 with a far wider spread.
    assert latency.speedup([2, 4, 40], [1, 2, 10]) == Quartiles(2, 2, 3)


@pytest.mark.parametrize(
    ("low", "median", "high", "said"),
    [
        (1.5, 1.7, 1.8, "1.70 times as fast as dense at batch size 8"),
        (0.9, 1.1, 1.2, "no gain (1.10 times as fast) at batch size 8"),
        (1.01, 1.02, 1.03, "no gain (1.02 times as fast) at batch size 8"),
        (0.6, 0.7, 0.8, "slower than dense (0.70 times as fast) at batch size 8"),
    ],
)
def test_a_gain_must_be_there_in_most_rounds(low: float, median: float, high: float, said: str) -> None:
    sizes = {"dense": {"num_parameters": 2}, "free": {"num_parameters": 1}}
    timings = {"8": {"speedup": {"free": {"low": low, "median": median, "high": high}}}}
    assert comparison.verdict("free", sizes, timings) == said
