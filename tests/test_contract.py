"""What must hold for every option of every config group, found by looking into conf/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from bimp_exp.config import check, signatures
from bimp_exp.config.resolve import resolve, without_hydra
from bimp_exp.errors import ConfigError
from bimp_exp.pruning import weights as prune
from bimp_exp.run import plan
from tests import toys
from tests.conftest import ROOT, composed
from tests.runs import execute_in

CONF = ROOT / "conf"
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in ("recipe", "scale"))
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
STAND_INS = {"classification": "digits", "segmentation": "digit_scenes", "translation": "number_words"}
METHODS = [option for group, option in OPTIONS if group == "method"]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_checks_plans_and_instantiates(group: str, option: str) -> None:
    extra = ["budget=dense"] if (group, option) == ("method", "dense") else []
    extra += ["method=dense"] if (group, option) == ("budget", "dense") else []
    extra += ["method=gsm"] if (group, option) == ("budget", "pretrained") else []
    extra += [f"dataset={STAND_INS[option]}"] if group == "task" else []
    if group == "model":
        target = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())["_target_"]
        extra += [f"dataset={STAND_INS[signatures.constant_or_none(target, 'task') or 'classification']}"]
    cfg = composed(f"{group}={option}", *extra)
    made = instantiate(cfg[group], _convert_="all")
    unknown = any(cfg[group].get(key, "") is None for key in ("num_train_images", "num_train_pairs"))
    if group == "dataset" and unknown and made.usual_items is None:
        with pytest.raises(ConfigError, match=r"^dataset\.(root|file)=null "):  # it counts what lies there
            plan.from_config(cfg)
    else:
        assert plan.from_config(cfg).num_steps > 0


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_yaml_gives_every_parameter_a_value(group: str, option: str) -> None:
    """Else the value would have to come from a default in Python, where nobody looks for it."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{option}.yaml"), resolve=False)
    assert isinstance(values, dict)
    given = values.keys() - check.INSTRUCTIONS - {"defaults"}
    asked = signatures.parameters(values["_target_"]).keys()
    later = asked & {*check.SUPPLIED.get(group, ())}
    assert asked - given == later
    assert bool(later) == (group in ("model", "task"))
    assert given <= asked


def test_the_top_config_sets_every_field_of_an_experiment() -> None:
    given = composed().keys() - check.INSTRUCTIONS
    assert given == signatures.parameters(check.RUN).keys()


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_one_home(group: str) -> None:
    package = ROOT / "bimp_exp"
    homes = [home for home in (package / f"{group}.py", package / group / "__init__.py") if home.exists()]
    assert len(homes) == 1
    for path in (CONF / group).glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["_target_"].startswith(f"bimp_exp.{group}.")


@pytest.mark.parametrize("group", ["schedule", "selector", "method"])
def test_adding_one_is_one_file_and_one_yaml_of_the_same_stem(group: str) -> None:
    modules = {path.stem.rstrip("_") for path in (ROOT / "bimp_exp" / group).glob("[!_]*.py")} - {
        "base",
        "gradual",
        "masked",
    }
    assert modules == {path.stem for path in (CONF / group).glob("*.yaml")}


SMALL = [
    "dataset.subset=100", "model.depth=8", "optim.batch_size=30", "runtime.threads=1", "tracking=none", "store=own",
    "budget.epochs=5", "budget.dense_epochs=4", "budget.cycles=1", "budget.finetune_epochs=1",
]  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_reaches_its_goal_and_leaves_a_plain_network(tmp_path: Path, method: str, precision: str) -> None:
    cfg = composed(*SMALL, f"method={method}", f"runtime.precision={precision}")
    made = instantiate(cfg, _convert_="all")
    made.check()
    result = execute_in(tmp_path, cfg, made).to_json()
    state, fresh = torch.load(tmp_path / "model.pt", weights_only=True), made.network()
    plain, prunable = fresh.state_dict(), prune.prunable(fresh)
    assert {n: (w.shape, w.dtype) for n, w in state.items()} == {n: (w.shape, w.dtype) for n, w in plain.items()}
    assert all(w.isfinite().all() for w in state.values())
    json.dumps(result, allow_nan=False)  # every number of it is finite
    num_weights = sum(w.numel() for w in prunable.values())
    num_zeros = sum(int((state[name] == 0).sum()) for name in prunable)
    assert result["final"]["sparsity"] == num_zeros / num_weights
    attested = {"saved_network_is_the_evaluated_one"}
    if made.method.prunes == "never":
        assert num_zeros == 0
    else:
        attested |= {"pruned_weights_are_zero", "masks_only_shrink", "others_untouched"}
    if made.method.prunes != "never" and made.method.has_target:
        assert num_zeros == round(0.9 * num_weights)
        attested |= {"exact_count"}
    assert result["attested"].keys() == attested


@pytest.mark.parametrize("method", METHODS)
def test_the_hooks_of_every_method_are_idempotent_in_a_step(method: str) -> None:
    made = instantiate(composed(f"method={method}", "budget=dense" if method == "dense" else "budget=bimp")["method"])
    model = toys.linear(side=3)
    context = toys.method_context(model, weight_decay=0.01, steps_per_epoch=1)
    made.attach(context)
    spared = made.parameters_without_weight_decay(context)
    optimizer = toys.SGD(momentum=0.9, weight_decay=0.01, batch_size=8, clip_norm=None).build(
        model.parameters(), spared
    )
    toys.train(model, toys.data(16, side=3), steps=2, method=made, context=context, optimizer=optimizer)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    made.on_step(context, 1, optimizer)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    made.detach(context)
    assert model.state_dict().keys() == toys.linear().state_dict().keys()


SWEEPS = {
    "small_schedules": 336,
    "small_methods": 30,
    "schedules": 54,
    "cifar10_schedules": 24,
    "methods_digits": 144,
    "methods_cifar10": 90,
    "tasks": 54,
    "imagenet": 6 * 2 * (4 * 4 + 2 * 3 * 3),
}  # runs of each file in sweeps/


def test_every_sweep_has_its_number_of_runs_and_each_run_a_plan() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from hydra_plugins.bimp_exp_grids import expand

    found = sorted(Path(ROOT / "sweeps").glob("*.yaml"))
    files = {path.stem: path for path in found if not path.stem.startswith("paper_")}  # test_paper_sweeps.py has those
    assert files.keys() == SWEEPS.keys()
    for name, path in files.items():
        text = yaml.safe_load(path.read_text())
        assert text["hydra"]["mode"] == "MULTIRUN"
        sweeper = text["hydra"]["sweeper"]
        runs = expand(OverridesParser.create(), params=sweeper["params"], grids=sweeper.get("grids"), arguments=[])
        assert len(runs) == SWEEPS[name]
        fixed = OmegaConf.create({key: value for key, value in text.items() if key not in ("hydra", "defaults")})
        options = [
            f"{key.removeprefix('override /')}={value}"
            for entry in text.get("defaults", [])
            if isinstance(entry, dict)
            for key, value in entry.items()
        ]
        plans = sorted({tuple(o for o in run if not o.startswith("seed=")) for run in runs})  # a seed changes no plan
        for run in plans[:: 1 + len(plans) // 25]:  # to compose one takes a tenth of a second
            with initialize_config_dir(str(CONF), version_base="1.3"):
                cfg = compose("config", overrides=[*options, *run], return_hydra_config=True)
            merged = OmegaConf.merge(without_hydra(cfg), fixed)
            assert plan.from_config(resolve(merged)[0]).num_steps > 0  # type: ignore[arg-type]


def test_imagenet_drops_its_rate_after_epochs_30_60_and_80_of_90() -> None:
    """Table 3 of the paper: 4,505 steps an epoch, 0.1 after 5 epochs of warm-up."""
    fixed = yaml.safe_load((ROOT / "sweeps" / "imagenet.yaml").read_text())
    cfg = composed("dataset=imagenet", "model=resnet50", "budget=imp")
    planned = plan.from_config(cfg | {name: cfg[name] | fixed[name] for name in ("optim", "lr", "budget")})
    assert (planned.num_fit_items, planned.steps_per_epoch) == (1_153_050, 4505)
    assert planned.phases[0].num_steps == 90 * 4505
    expected = {0: 0.0, 1: 0.02, 5: 0.1, 30: 0.01, 60: 0.001, 80: 0.0001}
    for epoch, rate in expected.items():
        assert planned.original(epoch * 4505) == pytest.approx(rate)
    for epoch, before in ((30, 0.1), (60, 0.01), (80, 0.001)):
        assert planned.original(epoch * 4505 - 1) == pytest.approx(before)
