"""Parameters of classes and functions wherever they lie, read without importing them."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from bimp_exp.config import check
from bimp_exp.config.compose import Composer
from bimp_exp.config.resolve import resolve, without_hydra
from bimp_exp.config.signatures import constant, parameters, required, signature
from bimp_exp.config.sources import definition
from bimp_exp.errors import ConfigError
from tests.conftest import ROOT, composed
from tests.test_run import run


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Writes a package of the user's own, under a name of this test's; the function returns the name."""
    name = f"own_{abs(hash(request.node.name))}"
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**modules: str) -> str:
        for module, text in {"__init__": "", **modules}.items():
            path = tmp_path / name / f"{module}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("PACKAGE", name))
        return name

    return write


HALF = """
    from dataclasses import dataclass, field
    from typing import ClassVar
    from bimp_exp.types import Share
    raise SystemExit("imported")

    @dataclass(frozen=True)
    class Half:
        d: Share
        kind: ClassVar[str] = "half"
        power: int = 2
        seen: list = field(default_factory=list)
        cache: dict = field(init=False)

    Other = Half
"""


def test_a_class_is_found_through_every_kind_of_re_export(own: Any) -> None:
    name = own(
        half=HALF,
        __init__="from PACKAGE.half import Half as Whole\nfrom . import half as inner\nimport PACKAGE.half\nfrom .half import *\n",
        more="import PACKAGE.half as h\nfrom PACKAGE import Whole\nAlias = h.Half\n",
        maybe="try:\n    from nowhere_at_all import Half\nexcept ImportError:\n    from PACKAGE.half import Half\n",
    )
    names = (
        "Whole",
        "inner.Half",
        "half.Half",
        "Half",
        "half.Other",
        "more.Alias",
        "more.h.Half",
        "more.Whole",
        "maybe.Half",
    )
    for target in names:
        found = signature(f"{name}.{target}")
        assert dict(found.hints) == {"d": "Share", "power": "int", "seen": "list"}, target
        assert found.optional == {"power", "seen"}
        assert definition(f"{name}.{target}").module == f"{name}.half"
    assert name not in sys.modules


def test_bases_are_followed_wherever_they_are_named(own: Any) -> None:
    name = own(
        half=HALF,
        more="""
            import PACKAGE.half
            from PACKAGE import half as h
            from dataclasses import dataclass
            class Plain(PACKAGE.half.Half): ...
            @dataclass
            class More(h.Half):
                extra: float
            class Own(h.Half):
                def __init__(self, a: bool = True, *, b, **rest): ...
        """,
    )
    assert list(parameters(f"{name}.more.Plain")) == ["d", "power", "seen"]
    assert list(parameters(f"{name}.more.More")) == ["d", "power", "seen", "extra"]
    assert required(f"{name}.more.More") == {"d", "extra"}
    assert signature(f"{name}.more.Own").more
    assert dict(parameters(f"{name}.more.Own")) == {"a": "bool", "b": ""}
    with pytest.raises(ConfigError, match="has no constant kinds"):
        constant(f"{name}.more.More", "kinds")
    assert constant(f"{name}.more.More", "kind") == "half"


def test_functions_and_methods_have_parameters(own: Any) -> None:
    name = own(
        make="""
            class Net:
                @classmethod
                def small(cls, depth: int = 3, *, image_shape, num_classes): ...
                @staticmethod
                def large(depth: int): ...
            def net(width, depth=2): ...
        """
    )
    assert list(parameters(f"{name}.make.Net.small")) == ["depth", "image_shape", "num_classes"]
    assert list(parameters(f"{name}.make.Net.large")) == ["depth"]
    assert required(f"{name}.make.net") == {"width"}


def test_a_type_of_the_same_name_as_one_of_ours_is_not_taken_for_it(own: Any) -> None:
    name = own(
        kinds="""
            from fractions import Fraction
            from bimp_exp.types import Count
            def make(a: Fraction, b: Count, c: "Count | None" = None): ...
        """
    )
    assert dict(parameters(f"{name}.kinds.make")) == {"a": "", "b": "Count", "c": "'Count | None'"}
    with pytest.raises(ConfigError, match="must be a whole number of at least 1 or null"):
        check._check_value("x.c", 0, "'Count | None'")


def test_a_hint_is_read_and_never_evaluated(tmp_path: Path) -> None:
    check._check_value("some.key", 1, f"__import__('pathlib').Path('{tmp_path}/planted').touch()")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("builtins.dict", r"builtins\.dict has no source to read its parameters from"),
        ("math.sqrt", r"math\.sqrt has no source to read its parameters from"),
        ("torch.relu", r"torch\.relu has no source to read its parameters from"),
        ("foo", "foo must be a dotted name, package.module.Name"),
        ("../x.Y", "must be a dotted name"),
        ("nowhere_at_all.X", "there is no module nowhere_at_all, neither in the current folder nor in PYTHONPATH"),
        ("bimp_exp.budget.BIMPP", r"does not exist: bimp_exp\.budget defines no BIMPP"),
        ("bimp_exp.budget.BIMP.nothing", "BIMP in bimp_exp.budget defines no nothing"),
        ("bimp_exp.budget", "is a module; name a class or function in it"),
    ],
)
def test_what_cannot_be_read_is_said_truly(target: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"^_target_: .*{says}"):
        signature(target)


def test_what_pytorch_and_torchvision_have_can_be_read() -> None:
    assert {"in_features", "out_features", "bias"} < parameters("torch.nn.Linear").keys()
    assert required("torch.nn.Linear") == {"in_features", "out_features"}
    assert signature("torchvision.models.resnet18").more


def test_odd_packages_are_one_line(own: Any) -> None:
    name = own(
        circle="from PACKAGE.circle import X\n",
        broken="class X(:\n",
        base="import collections.nothing as c\nclass X(c.Y): ...\nclass Z(dict): ...\n",
        made="X = 3\n",
    )
    for target, says in {
        "circle.X": "is a re-export of itself",
        "broken.X": "broken.py is not Python: line 1",
        "base.X": r"no source of its base c\.Y",
        "base.Z": "no source of its base dict",
        "made.X": "has no source to read its parameters from",
    }.items():
        with pytest.raises(ConfigError, match=says):
            signature(f"{name}.{target}")


NET = """
    from torch import nn
    class Net(nn.Module):
        def __init__(self, dim: int = 8, *, image_shape, num_classes):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, dim), nn.ReLU(), nn.Linear(dim, num_classes))
        def forward(self, images):
            return self.layers(images)
"""


def refused(**nodes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check.check(composed() | nodes)
    return str(caught.value)


def test_only_outside_of_the_package_may_a_default_in_python_stand_for_a_value(own: Any) -> None:
    name = own(net=NET)
    check.check(composed() | {"model": {"_target_": f"{name}.net.Net", "_partial_": True}})
    ours = "bimp_exp.optim.SGD.build"  # has a parameter with a default, which is not scientific
    assert signature(ours).optional
    assert required(ours) == parameters(ours).keys()


def test_messages_about_classes_of_the_users_own_say_what_to_do(own: Any) -> None:
    name = own(net=NET.replace("dim: int = 8", "dim: int"), half=HALF)
    model = {"_target_": f"{name}.net.Net", "_partial_": True}
    assert refused(model=model) == (
        f"model.dim is missing: it must be a whole number; {name}.net.Net has no default for it, ++model.dim=VALUE adds it"
    )
    assert refused(model=model | {"dim": "x"}) == "model.dim=x must be a whole number"
    assert (
        refused(model=model | {"dim": 3, "num_classes": 3})
        == "model.num_classes: leave it out, the data set gives it to the model"
    )
    said = refused(schedule={"_target_": f"{name}.half.Half", "d": 0.5, "norm": "all"})
    assert (
        said
        == f"no such key: schedule.norm; the keys for schedule are d, power, seen, the parameters of {name}.half.Half"
    )
    assert (
        refused(model=model | {"dim": 3, "_partial_": False})
        == "model._partial_: leave it out, bimp_exp sets it where it belongs"
    )
    assert refused(schedule={"_target_": f"{name}.half.Half", "d": 0.5, "_partial_": True}).startswith(
        "schedule._partial_: leave"
    )


def test_a_name_of_a_package_may_be_that_of_a_module_of_it(own: Any) -> None:
    """As torchvision.models.googlenet is; a module of which nothing of its name is imported stays one."""
    name = own(net=NET, __init__="from .net import Net as net\nfrom . import half\n", half=HALF)
    assert definition(f"{name}.net").module == f"{name}.net"
    assert definition("torchvision.models.googlenet").node.name == "googlenet"
    with pytest.raises(ConfigError, match="half is a module; name a class or function in it"):
        definition(f"{name}.half")


ROOTED = """
    from dataclasses import dataclass
    from bimp_exp.schedule.base import Discounted
    @dataclass(frozen=True, kw_only=True)
    class Rooted(Discounted):
        power: float = 0.5
"""


def of(group: str, *line: str) -> dict[str, Any]:
    """The configuration of a group after a command line, as a run and as a sweep compose it."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        load = lambda overrides: compose("config", overrides, return_hydra_config=True)  # noqa: E731
        once = resolve(without_hydra(load(list(line))), line)[0]
        composer = Composer(load)
        assert composer(["seed=1", *line]).config[group] == once[group]
        assert composer(line).config == once
    node: dict[str, Any] = once[group]
    return node


def test_a_class_of_the_users_own_replaces_the_option_whole(own: Any) -> None:
    """Of the keys before stay those given on the command line, and those of a base class of ours."""
    name = own(net=NET, rooted=ROOTED)
    net, rooted = f"model._target_={name}.net.Net", f"schedule._target_={name}.rooted.Rooted"
    assert of("model", net) == {"_target_": f"{name}.net.Net", "_partial_": True}
    assert of("model", net, "model.depth=3")["depth"] == 3  # which is then refused
    assert of("model", net, "+model.dim=3")["dim"] == 3
    assert of("schedule", rooted) == {"_target_": f"{name}.rooted.Rooted", "warmup": 0.1}  # norm was ALLR's
    assert of("schedule", rooted, "schedule.warmup=0.2")["warmup"] == 0.2
    assert of("schedule", "schedule._target_=bimp_exp.schedule.allr_d1.ALLRd1")["norm"] == "all"


@pytest.mark.parametrize("target", ["3", "null", "[torch.nn.Linear]", "{a:1}"])
def test_a_target_that_is_no_name_is_one_line(target: str) -> None:
    with pytest.raises(ConfigError, match=r"^model\._target_=.* must be a dotted name"):
        check.check(composed(f"model._target_={target}"))


def test_a_package_in_the_current_folder_is_found_and_trains_also_in_worker_processes(tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "here_only").mkdir()
    (tmp_path / "here_only" / "__init__.py").write_text("from here_only.net import Net\n")
    (tmp_path / "here_only" / "net.py").write_text(textwrap.dedent(NET))
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("_target_: here_only.Net\n")
    tiny = [
        "budget.epochs=2",
        "budget.dense_epochs=1",
        "budget.cycles=1",
        "dataset.subset=100",
        "tracking=none",
        "runtime.threads=1",
    ]
    run(
        tmp_path,
        "--config-dir",
        "conf",
        "-m",
        "model=mine",
        "seed=0,1",
        *tiny,
        "hydra.launcher.jobs=2",
        "hydra.sweep.dir=out",
    )
    assert len(list((tmp_path / "out").glob("seed=*/result.json"))) == 2


def test_a_package_beside_the_folder_of_options_is_found_from_anywhere(tmp_path: Path) -> None:
    """In this process and in those of a sweep; hydra.searchpath does the same, and a wrong folder is one line."""
    (tmp_path / "my" / "conf" / "model").mkdir(parents=True)
    (tmp_path / "my" / "beside").mkdir()
    (tmp_path / "my" / "beside" / "__init__.py").write_text(textwrap.dedent(NET))
    (tmp_path / "my" / "conf" / "model" / "mine.yaml").write_text("_target_: beside.Net\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tiny = [
        "budget.epochs=2",
        "budget.dense_epochs=1",
        "budget.cycles=1",
        "dataset.subset=100",
        "tracking=none",
        "runtime.threads=1",
    ]
    run(
        elsewhere,
        "model=mine",
        "seed=0,1",
        *tiny,
        "hydra.launcher.jobs=2",
        "hydra.sweep.dir=out",
        "-m",
        "--config-dir",
        "../my/conf",
    )
    assert len(list((elsewhere / "out").glob("seed=*/result.json"))) == 2
    for place in ("../my/conf", f"file://{tmp_path}/my/conf"):
        run(elsewhere, "model=mine", f"hydra.searchpath=[{place}]", "plan=true")
    done = run(elsewhere, "hydra.searchpath=[../conf]", "plan=true", expect=2)
    assert done.stderr == f"error: ../conf: there is no such folder ({elsewhere}/../conf)\n"
