"""Keys that change no number: in no key, no hash and no name, and free to change when a run or a sweep is continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimp_exp.config.check import RUN
from bimp_exp.config.choices import parse
from bimp_exp.config.neutral import LATER, NEUTRAL, is_neutral, leaves, without_neutral
from bimp_exp.config.signatures import parameters
from bimp_exp.errors import DataError, UserError
from bimp_exp.results.provenance import config_hash
from bimp_exp.results.writer import claim
from bimp_exp.run import plan
from bimp_exp.run.keys import phase_keys
from bimp_exp.sweep.cells import sweep_name
from tests.conftest import ROOT, composed
from tests.dataset.helpers import pixels, write_batches
from tests.test_run import load, run

OTHER = [
    "dataset.root=/elsewhere", "dataset.cache=/elsewhere", "dataset.download=true", "runtime.device=cpu", "runtime.threads=2",
    "runtime.keep_memory=false", "store=own", "store.every=7", "tracking=none", "plan=true", "sweep.retry=failed",
]  # fmt: skip


def config(*overrides: str) -> dict[str, Any]:
    return composed("dataset=cifar10", *overrides)


def keys(values: dict[str, Any]) -> list[str]:
    return phase_keys(values, plan.from_config(values), {"data": "digest"})


@pytest.mark.parametrize("change", OTHER)
def test_a_neutral_key_is_in_no_phase_key_no_hash_and_no_name_of_a_sweep(change: str) -> None:
    one, other = config(), config(change)
    assert keys(one) == keys(other)
    assert config_hash(one) == config_hash(other)
    swept = ["seed=0,1", "dataset=cifar10"]
    assert sweep_name(parse(swept)) == sweep_name(parse([*swept, change]))


def test_any_other_key_is_in_all_three() -> None:
    one = config()
    for key, value in leaves(one):
        if is_neutral(key) or not isinstance(value, int | float):
            continue
        change = f"{key}={str(not value).lower() if isinstance(value, bool) else value / 2 or 0.5}"
        other = json.loads(json.dumps(one))
        node = other
        for part in key.split(".")[:-1]:
            node = node[part]
        node[key.split(".")[-1]] = value / 2 or 0.5
        assert config_hash(one) != config_hash(other), key
        assert sweep_name(parse(["seed=0,1"])) != sweep_name(parse(["seed=0,1", change])), key


def test_every_neutral_key_is_a_key() -> None:
    """A key that was renamed would count again, and the data or the network of every run would be computed anew."""
    conf = ROOT / "conf"
    nodes = {path.stem: yaml.safe_load(path.read_text()) for path in conf.glob("*/*.yaml")}
    known = {"_target_", "plan", "sweep", *parameters(RUN)}
    known |= {f"{path.parent.name}.{key}" for path in conf.glob("*/*.yaml") for key in nodes[path.stem]}
    assert known >= NEUTRAL | LATER.keys()


@pytest.mark.parametrize("key", LATER)
def test_a_later_key_is_in_no_hash_at_the_value_that_changes_nothing(key: str) -> None:
    group, name = key.split(".")
    old = {group: {"_target_": "a"}}
    assert config_hash(old) == config_hash({group: {"_target_": "a", name: LATER[key]}})
    assert config_hash(old) != config_hash({group: {"_target_": "a", name: 7}})


def test_a_fraction_names_the_phases_that_its_epochs_name() -> None:
    """Of 30 epochs, 0.1 are 3; without either it is 5, as before there were fractions."""
    three, same = (config("budget=imp", f"budget.retrain_{said}") for said in ("epochs=3", "fraction=0.1"))
    assert keys(three) == keys(same)
    assert config("budget=imp")["budget"]["retrain_epochs"] == 5
    assert same["budget"]["retrain_epochs"] is None


def test_what_lies_in_a_neutral_node_is_neutral_and_a_longer_name_is_not() -> None:
    assert is_neutral("tracking.uri")
    assert not is_neutral("trackings")
    assert not is_neutral("dataset.rooted")
    assert not is_neutral("dataset")
    assert without_neutral(
        {"_target_": "a", "store": {"root": 1}, "dataset": {"_target_": "b", "root": 2, "seed": 3}}
    ) == {"dataset": {"_target_": "b", "seed": 3}}


def hold(folder: Path, values: dict[str, Any]) -> Any:
    """Claim ``folder``; what its config.yaml says then."""
    with claim(folder, values):
        return yaml.safe_load((folder / "config.yaml").read_text())


def test_an_interrupted_run_goes_on_with_other_neutral_values_and_its_config_says_so(tmp_path: Path) -> None:
    hold(tmp_path, config())
    moved = config(*OTHER)
    assert hold(tmp_path, moved) == moved


def test_a_run_of_another_configuration_is_refused_however_deep_or_long_the_difference(tmp_path: Path) -> None:
    one = config() | {"extra": list(range(500))}
    hold(tmp_path, one)
    other = config() | {"extra": [*range(499), -1]}
    for values, key in (
        (config("optim.momentum=0.8"), r"optim\.momentum is 0\.9 there and 0\.8 now"),
        (other, "extra"),
    ):
        with pytest.raises(UserError, match=key):
            hold(tmp_path, values)
    assert hold(tmp_path, one) == one


def test_a_finished_run_keeps_its_config_and_its_data(tmp_path: Path) -> None:
    one = config("dataset.root=/a")
    hold(tmp_path, one)
    (tmp_path / "result.json").write_text("{}")
    assert hold(tmp_path, config("dataset.root=/a", "tracking=none", "store=own", "runtime.threads=7")) == one
    with pytest.raises(UserError, match=r"dataset\.root is /a there and /b now"):
        hold(tmp_path, config("dataset.root=/b"))


def test_a_damaged_config_is_one_line(tmp_path: Path) -> None:
    for text in ("{", "- 1", ""):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(DataError, match=r"config\.yaml: not the configuration of a run"):
            hold(tmp_path, config())


def test_a_sweep_goes_on_where_its_data_have_moved_with_another_number_of_threads(tmp_path: Path) -> None:
    write_batches(tmp_path / "before", pixels(40, 0), pixels(6, 1))
    line = [
        "-m", "schedule=clr,llr", "dataset=cifar10", "dataset.num_classes=3", "dataset.num_train_images=40",
        "dataset.num_test_images=6", "dataset.cache=cache", "model.depth=8", "optim.batch_size=20", "budget.epochs=2",
        "budget.dense_epochs=1", "budget.cycles=1", "tracking=none", "hydra.sweep.dir=out",
    ]  # fmt: skip
    run(tmp_path, *line, "dataset.root=before", "runtime.threads=1")
    runs = {name: tmp_path / "out" / name for name in ("clr", "llr")}
    assert set(load(tmp_path / "out" / "sweep.json")["runs"]) == set(runs)
    (runs["llr"] / "result.json").unlink()  # as if it had been killed just before its last file
    finished = (runs["clr"] / "config.yaml").read_bytes()
    (tmp_path / "before").rename(tmp_path / "after")

    run(tmp_path, *line, "dataset.root=after", "runtime.threads=2", "dataset.cache=other", "store=own")
    assert load(runs["llr"] / "run.json")["starts"] == 2
    assert (runs["llr"] / "result.json").exists()
    said = yaml.safe_load((runs["llr"] / "config.yaml").read_text())
    assert (said["dataset"]["root"], said["runtime"]["threads"], said["store"]["root"]) == ("after", 2, None)
    assert (runs["clr"] / "config.yaml").read_bytes() == finished  # done before: it was on the data there
