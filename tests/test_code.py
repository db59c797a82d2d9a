"""What of the code is in a phase's key: all that can change a number, the user's own files included, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bimp_exp.config import sources
from bimp_exp.run import code
from bimp_exp.run.code import reached, statements, targets

SOURCE = '''
"""A module."""
from __future__ import annotations
import math
from bimp_exp.errors import ConfigError
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch

SCALE: float = 0.5  # half


class Half:
    """A schedule."""

    kind: ClassVar[str] = "half"
    warmup: float

    def discount(self, report: object, power: int = 2) -> float:
        """Always a half."""
        if power < 0:
            raise ConfigError(f"power={power} must be at least 0")
        assert SCALE > 0, "the scale is positive"
        log.warning("halved %s", report)
        return min(1.0, SCALE ** power)
'''

SAME = {
    "a docstring": ("Always a half.", "Half of the original peak."),
    "the module's docstring": ('"""A module."""', '"""Another text."""'),
    "a comment": ("# half", "# one half of it"),
    "a hint of an argument": ("report: object", "report: dict[str, float]"),
    "a hint of a result": ("-> float:", "-> int:"),
    "a hint of a constant": ("SCALE: float", "SCALE: Final"),
    "the text of an error": ("must be at least 0", "is negative"),
    "the kind of an error": ("raise ConfigError", "raise ValueError"),
    "the text of an assertion": ("the scale is positive", "scale"),
    "a log message": ("halved %s", "%s was halved"),
    "layout": ("SCALE ** power", "SCALE**power"),
    "an import": ("import math\n", "import cmath\n"),
    "where a name of ours lies": ("from bimp_exp.errors import", "from bimp_exp.ground.errors import"),
    "an import for hints alone": ("    import torch\n", "    import numpy\n"),
}
OTHER = {
    "a constant": ("= 0.5", "= 0.25"),
    "a default": ("power: int = 2", "power: int = 3"),
    "an operator": ("SCALE ** power", "SCALE * power"),
    "a function": ("return min(", "return max("),
    "a condition": ("power < 0", "power <= 0"),
    "what is asserted": ("SCALE > 0", "SCALE >= 0"),
    "a bound": ("min(1.0,", "min(2.0,"),
    "a class constant": ('"half"', '"whole"'),
    "the name of a field": ("warmup: float", "share: float"),
    "the order of arguments": ("report: object, power: int = 2", "power: int, report: object = 2"),
}


@pytest.mark.parametrize("edit", SAME.values(), ids=SAME)
def test_an_edit_that_changes_no_number_leaves_the_statements(edit: tuple[str, str]) -> None:
    assert SOURCE.count(edit[0]) == 1
    assert statements(SOURCE.replace(*edit)) == statements(SOURCE)


@pytest.mark.parametrize("edit", OTHER.values(), ids=OTHER)
def test_an_edit_that_can_change_a_number_changes_them(edit: tuple[str, str]) -> None:
    assert SOURCE.count(edit[0]) == 1
    assert statements(SOURCE.replace(*edit)) != statements(SOURCE)


IMPORTS = {
    "another thing under the same name": ("from torch.nn import ReLU as Act", "from torch.nn import Tanh as Act"),
    "another module under the same name": ("import math as m", "import cmath as m"),
    "the same name from elsewhere": ("from math import sqrt", "from cmath import sqrt"),
    "another name of ours": ("from bimp_exp.lr import linear as sqrt", "from bimp_exp.lr import cosine as sqrt"),
}


@pytest.mark.parametrize("edit", IMPORTS.values(), ids=IMPORTS)
@pytest.mark.parametrize("user_module", ["", "mine.net"])
def test_what_a_name_is_imported_as_counts(edit: tuple[str, str], user_module: str) -> None:
    used = "\nprint(Act, m, sqrt)"
    assert statements(edit[0] + used, user_module=user_module) != statements(edit[1] + used, user_module=user_module)


def test_a_users_module_may_hand_on_what_it_imports() -> None:
    first, second = (f"from .rules import {name} as rule" for name in ("half", "third"))
    assert statements(first, user_module="mine.api") != statements(second, user_module="mine.api")


@pytest.mark.parametrize(
    "text",
    [
        "if TYPE_CHECKING:\n    pass\nelse:\n    X = {}",
        "if not TYPE_CHECKING:\n    X = {}",
        "log.append({})",
        "log.update(x={})",
    ],
)
def test_what_only_looks_like_a_hint_or_a_message_counts(text: str) -> None:
    assert statements(text.format(1)) != statements(text.format(2))


Package = Callable[..., Path]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Writes a package of the user's own; each call is a new version of it that nothing has looked at."""
    monkeypatch.syspath_prepend(str(tmp_path))
    numbers = iter(range(100))

    def write(**files: str) -> Path:
        for function in (sources.find, code._imports, code.code_hash):
            function.cache_clear()
        folder = tmp_path / f"mine{next(numbers)}"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text.replace("mine", folder.name))
        return folder

    return write


def test_the_users_modules_are_followed_whatever_form_an_import_has(package: Package) -> None:
    folder = package(
        half="from .rules import rule\nimport mine.more as m\n\n"
        "class Half:\n    def __call__(self):\n        from mine import late\n",
        rules="def rule(): return 1",
        more="X = 1",
        late="Y = 2",
        unused="Z = 3",
    )
    users = reached([f"{folder.name}.half.Half"]).users
    assert {name.rpartition(".")[2] for name in users} == {folder.name, "half", "rules", "more", "late"}
    assert folder.name not in sys.modules  # nothing was imported


def test_an_edit_of_what_the_users_module_imports_is_noticed(package: Package) -> None:
    hashes = []
    for value in (1, 1, 2):
        folder = package(half="from mine.rules import rule\nclass Half: pass", rules=f"def rule(): return {value}")
        hashes.append(code.code_hash((f"{folder.name}.half.Half",)))
    assert hashes[0] == hashes[1]  # the name of the package says nothing
    assert hashes[0] != hashes[2]


def test_the_packages_around_a_module_count_since_python_runs_them(package: Package) -> None:
    folder = package(half="class Half: pass")
    before = code.code_hash((f"{folder.name}.half.Half",))
    other = package(half="class Half: pass")
    (other / "__init__.py").write_text("import sys; sys.path = []")
    assert code.code_hash((f"{other.name}.half.Half",)) != before


def test_a_reexport_leads_to_the_definition(package: Package) -> None:
    folder = package(half="class Half: pass")
    (folder / "__init__.py").write_text("from .half import Half")
    code._imports.cache_clear()
    assert f"{folder.name}.half" in reached([f"{folder.name}.Half"]).users


def test_installed_packages_count_by_their_version_where_a_target_or_the_user_names_them(package: Package) -> None:
    folder = package(net="import torchvision\nimport json\n\nclass Net: pass")
    assert reached([f"{folder.name}.net.Net"]).installed.keys() == {"torchvision"}
    assert reached(["torchvision.models.resnet18"]).installed.keys() == {"torchvision"}
    assert reached(["bimp_exp.model.vgg.VGG16"]).installed == {}


def test_our_modules_count_if_they_compute_numbers() -> None:
    ours = reached(["bimp_exp.method.gmp.GMP", *code.ROOTS]).ours
    assert {"bimp_exp.method.gmp", "bimp_exp.training.loop", "bimp_exp.lr", "bimp_exp.seeds"} <= ours.keys()
    assert {name.split(".")[1] for name in ours} <= set(code.COUNTED)
    assert "bimp_exp.method.str" not in ours
    assert all(reached([root]).ours for root in code.ROOTS)  # none of the names is wrong


def test_targets_are_found_at_any_depth() -> None:
    config = {"method": {"_target_": "a.B", "rule": {"_target_": "c.D"}}, "seed": 0, "lr": {"_target_": "a.B"}}
    assert targets(config) == ("a.B", "c.D")
