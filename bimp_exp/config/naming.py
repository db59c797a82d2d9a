"""What the model and the data of a run are called: by the option that was chosen and by what was changed in it.

``model.depth=8`` makes another network of ``model=resnet20``, and ``dataset=cifar10`` also reads a folder of cats and dogs;
names, tables and MLflow must not call these resnet20 and cifar10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bimp_exp.config.check import INSTRUCTIONS, plain
from bimp_exp.config.neutral import leaves

FACTS = ("image_shape", "num_classes", "num_train_images", "num_test_images")  # other ones are of other data


def options(choices: Mapping[str, Any], config: Mapping[str, Any], folders: Sequence[str]) -> dict[str, Any]:
    """Our config groups and the option of each, by ``name_of`` those of model and dataset and where another class is named.

    choices: as Hydra tells them. config: resolved. folders: where Hydra looks for options, the first wins.
    """
    chosen = {
        key: value for key, value in choices.items() if not key.startswith(("hydra", "sweeps", "recipe")) and value
    }
    for group, option in chosen.items():
        if not isinstance(node := config.get(group), Mapping):
            continue
        written = _written(group, str(option), tuple(folders))
        if group in ("model", "dataset") or (written or node).get("_target_", node["_target_"]) != node["_target_"]:
            chosen[group] = name_of(group, str(option), node, written)
    return chosen


def folders(runtime: Any) -> tuple[str, ...]:
    """Where Hydra looks for options: ``runtime`` is its node ``hydra.runtime``."""
    return tuple(str(source.path) for source in runtime.config_sources if source.schema == "file")


def name_of(group: str, option: str, node: Mapping[str, Any], written: Mapping[str, Any] | None) -> str:
    """The name of ``node``, of which the file of ``option`` has ``written``; None: there is none to compare with.

    A model is the option with the keys that differ, ``resnet20 depth=8``, one of timm its name there. Data whose FACTS differ are
    the folder that they lie in, or without one the option with those facts; data whose facts are read from them are called by
    their folder or file. Another ``_target_`` is the name of that class with all of its keys.
    """
    if written is None:
        return option
    if (
        group == "dataset"
        and written.get("num_classes", "") is None
        and (place := node.get("root") or node.get("file"))
    ):
        return Path(place).absolute().stem if "file" in node else Path(place).absolute().name
    now, before = (_values(part) for part in (node, written))
    if now["_target_"] == before.get("_target_", now["_target_"]):
        name = f"timm {now['name']}" if option == "timm" else option
        before |= {"name": now.get("name")} if option == "timm" else {}
        known = now.keys() & before.keys() if "defaults" in written else now.keys()
        changed = [
            key for key in now if key in known and before.get(key) != now[key] and "${" not in str(before.get(key))
        ]
    else:
        name, changed = str(now["_target_"]).rpartition(".")[2], list(now)
    if group == "dataset":
        changed = [key for key in changed if key in FACTS]
        if changed and node.get("root"):
            return Path(node["root"]).absolute().name or name
    return " ".join([name, *(f"{key}={plain(now[key])}" for key in changed if key not in INSTRUCTIONS)])


def _values(node: Mapping[str, Any]) -> dict[str, Any]:
    return dict(leaves({key: value for key, value in node.items() if key != "defaults"}))


@cache
def _written(group: str, option: str, folders: tuple[str, ...]) -> dict[str, Any] | None:
    """The content of the file of an option, without what it inherits; None where there is no such file."""
    from omegaconf import OmegaConf

    files = (Path(folder, group, f"{option}.yaml") for folder in folders)
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        return None
    content = OmegaConf.to_container(OmegaConf.load(found), resolve=False)
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else None
