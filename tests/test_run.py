"""The program as a user runs it: commands in, files and exit statuses out."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.conftest import ROOT, SHARED, real_cifar10

SHORT = ["budget.epochs=4", "budget.dense_epochs=2", "budget.cycles=2", "tracking=none"]


def run(folder: Path, *arguments: str, expect: int = 0, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``python run.py`` with ``arguments``, in ``folder``; ``path``: where more modules lie."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run with MLflow."""
    folder = tmp_path_factory.mktemp("run")
    run(folder, *SHORT[:-1], "hydra.run.dir=out")
    return folder / "out"


def test_a_run_leaves_all_its_files(finished: Path) -> None:
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert names == {
        "config.yaml", "run.json", "metrics.jsonl", "result.json", "model.pt", "mlflow.json",
        "plots/accuracy.png", "plots/layers.png", "plots/learning_rate.png",
    }  # fmt: skip
    assert (finished.parent / "results" / "mlflow.db").exists()


def test_the_result_holds_what_the_plan_said(finished: Path) -> None:
    result = load(finished / "result.json")
    assert [p["name"] for p in result["phases"]] == ["dense", "cycle 1", "cycle 2"]
    assert [p["epochs"] for p in result["phases"]] == [2, 1, 1]
    assert [p["num_steps"] for p in result["phases"]] == [22, 11, 11]  # 1,293 images in batches of 128
    assert [p["first_step"] for p in result["phases"]] == [0, 22, 33]
    assert [p["num_images"] for p in result["phases"]] == [2 * 1293, 1293, 1293]
    assert result["budget"] == {"epochs": 4, "epochs_used": 4, "num_steps": 44, "num_images": 4 * 1293}


def test_sparsity_is_exact_nested_and_reported(finished: Path) -> None:
    result = load(finished / "result.json")
    state = torch.load(finished / "model.pt", weights_only=True)
    prunable = {n: w for n, w in state.items() if w.ndim > 1}
    total = sum(w.numel() for w in prunable.values())
    zeros = {n: int((w == 0).sum()) for n, w in prunable.items()}
    assert sum(zeros.values()) == round(0.9 * total)
    assert {layer["name"]: layer["num_zeros"] for layer in result["final"]["layers"]} == zeros
    assert result["final"]["sparsity"] == sum(zeros.values()) / total
    first, second = (p["pruning"] for p in result["phases"][1:])
    assert first["num_pruned"] == round((1 - 0.1**0.5) * total)
    assert first["num_pruned"] + second["num_pruned"] == round(0.9 * total)
    assert first["fraction"] == second["fraction"] == pytest.approx(0.683772, abs=1e-6)
    assert all((state[n] != 0).all() for n in state if n.endswith("bn1.weight"))


def test_each_pruning_compares_with_the_model_just_before(finished: Path) -> None:
    phases = load(finished / "result.json")["phases"]
    for before, phase in itertools.pairwise(phases):
        pruning = phase["pruning"]
        assert pruning["before"] == before["metrics"]
        stability = 1 - (pruning["before"]["test"] - pruning["right_after"]["test"]) / pruning["before"]["test"]
        assert pruning["pruning_stability"] == pytest.approx(min(max(stability, 0), 1))
        assert pruning["d2"] == 0.5
        assert pruning["d"] == max(pruning["d1"], pruning["d2"])
        assert phase["learning_rate"]["peak"] == pytest.approx(0.1 * pruning["d"])
        assert phase["learning_rate"]["first"] == 0.0  # 11 steps: one of warm-up


def test_the_final_network_loads_into_a_plain_model_and_scores_the_same(finished: Path) -> None:
    config = OmegaConf.to_container(OmegaConf.load(finished / "config.yaml"))
    assert isinstance(config, dict)
    data = instantiate(config["dataset"], _convert_="all").load(torch.device("cpu"))
    model = instantiate(config["model"])(image_shape=[1, 8, 8], num_classes=10)
    model.load_state_dict(torch.load(finished / "model.pt", weights_only=True))
    model.eval()
    runtime = instantiate(config["runtime"])
    device = runtime.check()
    with torch.no_grad(), runtime.autocast(device):
        batches = data.batches(data.test, config["optim"]["batch_size"])
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y, _ in batches)
    assert right / 360 == load(finished / "result.json")["final"]["test"]


def test_metrics_lie_on_one_axis(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    assert steps[-1] == 44
    assert [line["step"] for line in lines if "validation_accuracy" in line] == [11, 22, 33, 44]
    assert [line["step"] for line in lines if "test_accuracy" in line] == [22, 33, 44]  # at the ends of phases
    assert [line["step"] for line in lines if "pruned_test_accuracy" in line] == [22, 33]  # right after pruning
    assert not [line for line in lines if "train_loss" in line and line["train_loss"] <= 0]


def test_where_it_came_from(finished: Path) -> None:
    facts = load(finished / "run.json")
    assert facts["choices"]["schedule"] == "allr"
    assert facts["provenance"]["versions"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert len(facts["provenance"]["config_hash"]) == 64
    assert "budget.epochs=4" in facts["provenance"]["command"]
    assert len(load(finished / "result.json")["data_hash"]) == 64


def numbers(folder: Path) -> Any:
    """Everything of a run that must not depend on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("images_per_second", None)
    return lines, (folder / "model.pt").read_bytes()


def test_same_seed_same_bits_and_zero_is_a_seed(finished: Path, tmp_path: Path) -> None:
    run(tmp_path, *SHORT, "hydra.run.dir=again")
    run(tmp_path, *SHORT, "hydra.run.dir=other", "seed=1")
    assert numbers(tmp_path / "again") == numbers(finished)
    assert numbers(tmp_path / "other")[1] != numbers(finished)[1]


def test_a_grid_ends_with_its_table_and_each_run_equals_the_run_alone(finished: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "schedule=allr,clr", "seed=0,1", *SHORT, "hydra.sweep.dir=grid")
    folder = tmp_path / "grid"
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {
        "allr,seed=0", "allr,seed=1", "clr,seed=0", "clr,seed=1"
    }  # fmt: skip
    assert numbers(folder / "allr,seed=0") == numbers(finished)
    assert {p.name for p in folder.iterdir() if p.is_file()} >= {
        "sweep.json",
        "summary.csv",
        "summary.html",
        "summary.png",
    }
    rows = (folder / "summary.csv").read_text().splitlines()
    assert len(rows) == 3  # a header and two schedules, each the mean over two seeds
    assert "clr" in [line.split()[0] for line in done.stdout.splitlines() if line.strip()]


def test_a_folder_that_holds_a_run_or_a_sweep_is_left_alone(finished: Path, tmp_path: Path) -> None:
    before = (finished / "metrics.jsonl").read_bytes()
    done = run(tmp_path, *SHORT, f"hydra.run.dir={finished}")  # finished already: shown, not repeated
    assert f"files: {finished}" in done.stdout
    assert (finished / "metrics.jsonl").read_bytes() == before
    done = run(tmp_path, *SHORT, "sparsity=0.8", f"hydra.run.dir={finished}", expect=2)
    assert "another configuration: sparsity is 0.9 there and 0.8 now" in done.stderr
    assert (finished / "metrics.jsonl").read_bytes() == before
    (tmp_path / "sweep.json").touch()
    done = run(tmp_path, "-m", "seed=0,1", *SHORT, f"hydra.sweep.dir={tmp_path}", expect=2)
    assert f"{tmp_path / 'sweep.json'}: not JSON" in done.stderr


def test_a_plan_touches_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "plan=true")
    assert "cycle 3" in done.stdout
    assert "90.00 %" in done.stdout
    assert "30 of 30 epochs, 330 steps" in done.stdout
    done = run(tmp_path, "-m", "plan=true", "schedule=allr,clr", "budget.cycles=1,2,3")
    assert len(done.stdout.splitlines()) == 7
    assert (
        "6 runs, 0 of them done: 180 epochs in 18 phases; 105 epochs in 13 of them differ" in done.stdout
    )  # one dense network
    assert not list(tmp_path.iterdir())


def test_imp_starts_from_a_users_checkpoint(finished: Path, tmp_path: Path) -> None:
    run(tmp_path, "method=dense", "budget=dense", "budget.epochs=2", "tracking=none", "hydra.run.dir=dense")
    dense = load(tmp_path / "dense" / "result.json")
    assert dense["final"]["sparsity"] == 0
    run(
        tmp_path, "budget=imp", "budget.epochs=2", "budget.retrain_epochs=1", "tracking=none", "hydra.run.dir=imp",
        f"dense_checkpoint={tmp_path / 'dense' / 'model.pt'}",
    )  # fmt: skip
    imp = load(tmp_path / "imp" / "result.json")
    assert imp["phases"][0]["metrics"] == dense["phases"][0]["metrics"]
    assert imp["phases"][0]["num_steps"] == 0
    assert imp["budget"]["epochs_used"] == 1
    assert imp["phases"][1]["pruning"]["d2"] == 0.5  # against the two epochs that the checkpoint was trained for


WRONG = [
    (["schedule=alrl"], "schedule=alrl: no such option (did you mean allr?); choose one of"),
    (["budget.cycls=3"], "no such key: budget.cycls (did you mean cycles?)"),
    (["sparsety=0.5"], "no such key: sparsety (did you mean sparsity?)"),
    (["+budget.extra=1"], "no such key: budget.extra; the keys for budget are"),
    (["+schedule.initial=0.1"], "no such key: schedule.initial; the keys for schedule are norm, reference_epochs, warmup"),
    (["+nonsense=1"], "no such key: nonsense"),
    (["budget.cycles=abc"], "budget.cycles=abc must be a whole number of at least 1"),
    (["budget.cycles=0"], "budget.cycles=0 must be a whole number of at least 1"),
    (["sparsity=1"], "sparsity=1 must be a number in [0, 1)"),
    (["sparsity=-0.1"], "sparsity=-0.1 must be a number in [0, 1)"),
    (["seed=null"], "seed=null must be a whole number from 0 to"),
    (["~seed"], "seed is missing: it must be a whole number"),
    (["~schedule"], "schedule is missing: it must be one of its group's options"),
    (["~schedule.warmup"], "schedule.warmup is missing: it must be a number in [0, 1]"),
    (["schedule=null"], "schedule"),
    (["seed=0,1"], "which needs -m"),
    (["sweep.baseline=ft"], "sweep.baseline=ft must be null or {KEY: VALUE} of swept keys"),
    (["sweep.baseline={schedule:ft}"], "sweep.baseline: compares over seeds, but seed is not swept"),
    (["tracking.uri=foo"], "tracking.uri: 'foo' is not legal"),
    (["sparsity=0.9999999"], "would remove all 268048 prunable weights"),
    (["model=resnet18", "optim.batch_size=68"], "the last batch of an epoch has 1 of 1293 images"),
    (["hydra.run.dir=/proc/foo"], "/proc"),
    (["optim.weight_decay=nan"], "optim.weight_decay=nan must be a number of at least 0"),
    (["schedule.norm=some"], "schedule.norm=some must be one of all, prunable"),
    (["runtime.device=tpu"], "runtime.device=tpu must be one of auto, cpu, cuda"),
    (["budget.dense_epochs=30"], "budget.dense_epochs=30 must be less than budget.epochs=30"),
    (["budget.retrain_epochs=6"], "is 33 epochs: more than budget.epochs=30"),
    (["budget=imp", "schedule=lrw", "budget.retrain_epochs=31"], "budget.retrain_epochs must be at most"),
    (["budget=dense"], "budget must be one of bimp, imp, renda"),
    (["lr.warmup_epochs=15"], "lr.warmup_epochs=15 must be less than"),
    (["dataset.subset=5000"], "dataset.subset=5000 must be at most dataset.num_train_images=1437"),
    (["dataset=cifar10"], "dataset.root=null must be a folder"),
    (["dataset=cifar10", "dataset.root=nowhere"], "dataset.root=nowhere: there is no such folder"),
    (["model=vgg16"], "model: vgg16 needs images of at least 32x32 pixels, not 8x8"),
    (["selector=uniform_plus", "sparsity=0.9995"], "sparsity: selector=uniform_plus cannot remove"),
    (["selector=globl"], "selector=globl: no such option (did you mean global?); choose one of erk, filter_l2, global"),
    (["model.depth=21"], "model.depth: 21 is not 6n+2"),
    (["dense_checkpoint=none.pt"], "dense_checkpoint=none.pt: there is no such file"),
    (["method=gmp", "method.interval=16"], "method.interval=16 must be at most half of the 30 epochs"),
    (["dense_checkpoint=run.py"], "dense_checkpoint=run.py: not a file that torch.save wrote"),
    (["dataset.num_train_images=1000"], "the digits data: 1437 training images, but dataset.num_train_images=1000"),
    (["seed=${nothing}"], "nothing"),
    (["schedule="], "schedule"),
    (["schedule"], "schedule"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_bad_input_is_one_clear_line_and_no_trace(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "run.py").write_text("not a checkpoint")
    quiet = [] if any(argument.startswith("tracking") for argument in arguments) else ["tracking=none"]
    done = run(tmp_path, *arguments, *quiet, expect=2)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert says in lines[0]
    assert list(tmp_path.iterdir()) == [tmp_path / "run.py"]


def test_a_run_whose_loss_explodes_is_one_line_and_a_failure(tmp_path: Path) -> None:
    done = run(tmp_path, "lr.initial=1e15", "optim.batch_size=2000", "hydra.run.dir=out", "tracking=none", expect=2)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "loss is" in line
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"config.yaml", "failed.json"}
    assert not (tmp_path / "out" / "result.json").exists()


def test_every_impossible_cell_of_a_grid_is_named_before_anything_starts(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "budget.cycles=1,99", "schedule=clr,allr", "tracking=none", expect=2)
    (line,) = done.stderr.strip().splitlines()
    assert "2 of 4 runs are impossible, nothing was started: " in line
    assert "clr cycles=99" in line or "cycles=99 clr" in line
    assert not list(tmp_path.iterdir())


def test_grids_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for arguments, says in (
        (["seed=range(3,3)"], "the grid is empty"),
        (["seed=1,1"], "the same run more than once"),
        (["optim.weight_decay=1e-4,0.0001"], "the same run more than once"),
        (
            ["schedule=ft,clr", "sweep.baseline={schedule:ft}"],
            "sweep.baseline: compares over seeds, but seed is not swept",
        ),
        (["schedule=ft,clr", "seed=0,1", "sweep.baseline={schedule:llr}"], "the values of schedule are ft, clr"),
        (
            ["schedule=ft,clr", "seed=0,1", "sweep.baseline={seed:0}"],
            "seed is not a swept key beside the seed; these are schedule",
        ),
        (["seed=0,1", "sweep.baseline=null,{schedule:ft}"], "sweep.baseline: a sweep has one baseline"),
        (["seed=0,1", "hydra.sweeper.max_batch_size=1"], "max_batch_size must be null"),
        (["model=resnet20,vgg16"], "1 of 2 runs are impossible, nothing was started: vgg16: model: vgg16 needs images"),
    ):
        done = run(tmp_path, "-m", *arguments, *SHORT, expect=2)
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_model_or_a_damaged_one_is_refused(finished: Path, tmp_path: Path) -> None:
    done = run(tmp_path, f"dense_checkpoint={finished / 'model.pt'}", "model=resnet32", "tracking=none", expect=2)
    assert "not a checkpoint of this model" in done.stderr
    (tmp_path / "half.pt").write_bytes((finished / "model.pt").read_bytes()[:5000])
    done = run(tmp_path, "dense_checkpoint=half.pt", "tracking=none", expect=2)
    assert "dense_checkpoint=half.pt" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "half.pt"]


def test_a_loss_that_explodes_says_when_and_fails_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "lr.initial=0.1,1e30", *SHORT, "hydra.sweep.dir=grid", expect=2)
    assert "the loss is nan in step" in done.stderr or "the loss is inf in step" in done.stderr
    assert "1 of 2 runs failed" in done.stderr
    grid = tmp_path / "grid"
    assert (grid / "initial=0.1" / "result.json").exists()
    assert "learning rate" in load(grid / "initial=1e+30" / "failed.json")["error"]
    assert not (grid / "initial=1e+30" / "result.json").exists()


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_line_and_no_half_result(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(small)]).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        done = run(tmp_path, *SHORT, "hydra.run.dir=small/out", expect=2)  # model.pt has 1.1 MB
        assert done.stderr.strip().splitlines() == [
            f"error: cannot write {small}/out/model.pt: No space left on device"
        ]
        assert not list(small.rglob("result.json"))
        assert not list(small.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


@real_cifar10
def test_real_cifar10_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for part, num in (("train", 200), ("test", 50)):
        table = pq.read_table(SHARED / "data" / "cifar10" / f"{part}.parquet").slice(0, num)
        pq.write_table(table, tmp_path / "images" / f"{part}.parquet")
    run(
        tmp_path, "dataset=cifar10", "dataset.root=images", "dataset.num_train_images=200", "dataset.num_test_images=50",
        "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1", "tracking=none", "hydra.run.dir=out",
    )  # fmt: skip
    result = load(tmp_path / "out" / "result.json")
    assert result["final"]["multiply_adds_dense"] == 40_551_040  # ResNet-20 at 32 x 32
    assert result["phases"][0]["num_images"] == 180
