"""Every option of conf/selector: golden masks and counts, the laws that all of them keep, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchvision
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.model.resnet_cifar import ResNetCifar
from bimp_exp.model.vgg import VGG16
from bimp_exp.pruning.metrics import LayerCount, multiply_adds, theoretical_speedup
from bimp_exp.pruning.weights import prunable
from bimp_exp.selector import lamp
from bimp_exp.selector.base import Layer, Masks, PerLayer, PruningTarget
from tests.conftest import ROOT, golden

OPTIONS = sorted(path.stem for path in (ROOT / "conf" / "selector").glob("*.yaml"))
GOLDEN_NAMES = {"filter_l2_uniform": "filter_l2"}
Weights = dict[str, Tensor]


def selector(name: str, *, seed: int = 0) -> Any:
    """An option of conf/selector as the program would make it."""
    text = (ROOT / "conf" / "selector" / f"{name}.yaml").read_text()
    cfg = OmegaConf.create({"selector": OmegaConf.create(text), "seed": seed})
    return instantiate(OmegaConf.to_container(cfg, resolve=True)["selector"])  # type: ignore[index]


def of(tensors: list[Tensor]) -> Weights:
    return {f"layer{i}": tensor for i, tensor in enumerate(tensors)}


def ones(weights: Weights) -> Masks:
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}


def text(mask: Tensor) -> str:
    return "".join("1" if kept else "0" for kept in mask.flatten().tolist())


def texts(masks: Masks) -> list[str]:
    return [text(mask) for mask in masks.values()]


def gone(masks: Masks) -> list[int]:
    return [int((~mask).sum()) for mask in masks.values()]


def asking(fraction: float, total_pruned: int) -> PruningTarget:
    return PruningTarget(fraction_of_remaining=fraction, total_pruned=total_pruned)


def target(fraction: float, masks: Masks) -> PruningTarget:
    """As the experiment asks for it: round half to even of what is left."""
    num_weights, num_pruned = sum(mask.numel() for mask in masks.values()), sum(gone(masks))
    return asking(fraction, num_pruned + round(fraction * (num_weights - num_pruned)))


def fixed_model(name: str) -> Weights:
    """Weights of a golden model."""
    cases = {p.values[0]["id"]: p.values[0] for p in golden("selectors", kind="selector_model")}
    return {
        layer["name"]: torch.tensor(layer["weight"], dtype=torch.float64).view(layer["shape"])
        for layer in cases[f"open.{name}.model"]["inputs"]["layers"]
    }


@pytest.mark.parametrize("case", golden("selectors", kind="selector"))
def test_golden_one_shot(case: dict[str, Any]) -> None:
    made, weights = selector(case["inputs"]["selector"]), fixed_model(case["inputs"]["model"])
    expected, asked = case["expected"], target(case["inputs"]["sparsity"], ones(weights))
    if "error" in expected:
        with pytest.raises(ConfigError, match=r"^sparsity: selector=uniform_plus cannot remove"):
            made(weights, ones(weights), asked)
        with pytest.raises(ConfigError):
            made.check([w.shape for w in weights.values()], asked)
        return
    masks = made(weights, ones(weights), asked)
    assert texts(masks) == expected["masks"]
    assert (gone(masks), sum(gone(masks))) == (expected["pruned_per_layer"], expected["total_zeros"])
    made.check([w.shape for w in weights.values()], asked)
    for weight, scores in zip(weights.values(), expected.get("lamp_scores", ""), strict=False):
        if isinstance(scores, list):
            found = lamp.scores(weight, torch.ones_like(weight, dtype=torch.bool))
            assert found.flatten().tolist() == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize("case", golden("selectors", kind="selector_iterative"))
def test_golden_iterative(case: dict[str, Any]) -> None:
    made, weights = selector(case["inputs"]["selector"]), fixed_model(case["inputs"]["model"])
    masks = ones(weights)
    for fraction, expected in zip(case["inputs"]["fractions_of_remaining"], case["expected"]["cycles"], strict=True):
        asked = target(fraction, masks)
        if case["id"] == "open.B.lamp.iterative":  # 0.3 x 65 = 19.5 go: Lee et al. round what stays, 0.7 x 65 to 46
            asked = asking(fraction, sum(expected["pruned_total_per_layer"]))
        masks = made(weights, masks, asked)
        assert texts(masks) == expected["masks"]
        assert gone(masks) == expected["pruned_total_per_layer"]


@pytest.mark.parametrize("case", golden("selectors", kind="filter_selector"))
def test_golden_filters(case: dict[str, Any]) -> None:
    weights = fixed_model(case["inputs"]["model"])
    made = selector(GOLDEN_NAMES[case["inputs"]["selector"]])
    masks = made(weights, ones(weights), target(case["inputs"]["sparsity"], ones(weights)))
    filters = [mask.flatten(1) for mask in masks.values() if mask.ndim == 4]
    assert [f.any(1).int().tolist() for f in filters] == case["expected"]["conv_filters_kept"]
    assert all(torch.equal(f.any(1), f.all(1)) for f in filters)
    assert all(mask.all() for mask in masks.values() if mask.ndim == 2)


def known_model(name: str) -> nn.Module:
    match name:
        case "ResNet56-CIFAR10":
            return ResNetCifar(56, image_shape=(3, 32, 32), num_classes=10)
        case "VGG16-CIFAR10":
            return VGG16(image_shape=(3, 32, 32), num_classes=10)
        case "ResNet50-ImageNet":
            return torchvision.models.resnet50(weights=None)
    raise AssertionError(name)


@pytest.mark.parametrize(
    "case", [p for p in golden("metrics_models", kind="model_facts") if "DeepLab" not in str(p.id)]
)
def test_golden_speedup_of_counts_per_layer(case: dict[str, Any]) -> None:
    with torch.device("meta"):  # counts follow from shapes alone
        model = known_model(case["inputs"]["model"])
    adds = multiply_adds(model, case["inputs"]["input_shape"])
    shapes = {name: tuple(w.shape) for name, w in prunable(model).items()}
    layers = [Layer(shape=shape, num_left=math.prod(shape)) for shape in shapes.values()]
    for query, expected in case["expected"]["speedup_from_layer_counts"].items():
        name, _, sparsity = query.partition("@")
        asked = asking(float(sparsity), round(float(sparsity) * sum(x.num_left for x in layers)))
        removed = dict(zip(shapes, selector(name).counts(layers, asked), strict=True))
        counts = [LayerCount(name=n, num_weights=math.prod(shape), num_zeros=removed[n]) for n, shape in shapes.items()]
        assert theoretical_speedup(adds, counts).speedup == pytest.approx(expected["speedup"], rel=1e-4), query
        assert sum(removed.values()) == pytest.approx(expected["total_zeros"], abs=5), query


# Numbers that a reader can check (docs/method.md, Selectors)

TWO = of([torch.tensor([[0.5, -0.4, 0.3, -0.1]]), torch.tensor([[2.0, -1.0]])])


@pytest.mark.parametrize(
    ("name", "masks"),
    [
        ("global", ["1000", "11"]),
        ("uniform", ["1100", "10"]),
        ("uniform_plus", ["1100", "10"]),
        ("erk", ["1100", "10"]),
        ("lamp", ["1100", "10"]),
        ("filter_l2", ["1111", "11"]),
    ],
)
def test_half_of_two_linear_layers(name: str, masks: list[str]) -> None:
    assert texts(selector(name)(TWO, ones(TWO), target(0.5, ones(TWO)))) == masks


def test_lamp_scores() -> None:
    scores = [lamp.scores(w, torch.ones_like(w, dtype=torch.bool)).flatten().tolist() for w in TWO.values()]
    assert scores[0] == pytest.approx([0.25 / 0.25, 0.16 / 0.41, 0.09 / 0.5, 0.01 / 0.51], abs=1e-6)
    assert scores[1] == pytest.approx([1, 0.2])
    zero, one = torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])
    assert lamp.scores(zero, zero == 0).tolist() == [0, 0, 0]  # 0 / 0
    assert lamp.scores(one, one < 2).tolist() == [0, 0, 1]
    assert lamp.scores(torch.tensor([9.0, 1.0]), torch.tensor([False, True])).tolist() == [0, 1]  # masked: not there
    tiny = torch.tensor([1e-30, 2e-30])  # their squares are 0 in float32
    assert lamp.scores(tiny, tiny > 0).tolist() == pytest.approx([0.2, 1])
    assert lamp.scores(torch.full((4,), 7.0), torch.ones(4).bool()).tolist() == pytest.approx([1 / 4, 1 / 3, 1 / 2, 1])


def test_lamp_sums_a_million_small_weights_beside_a_large_one() -> None:
    """In float32, 1e4 + 1e-4 is 1e4: a running sum there would lose all of them, one hundredth of the whole."""
    weight = torch.full((1_000_001,), 1e-2)
    weight[0] = 100
    lowest = lamp.scores(weight, torch.ones_like(weight, dtype=torch.bool)).min().item()
    assert lowest == pytest.approx(1e-4 / (1e4 + 100), rel=1e-6)


def test_lamp_leaves_each_layer_a_weight_while_there_are_as_many_to_leave() -> None:
    weights = of([torch.full((10,), 1e-9), torch.zeros(3), torch.arange(1.0, 31), torch.tensor([2.0])])
    weights["layer1"][1] = 1e-20
    assert texts(selector("lamp")(weights, ones(weights), asking(0.9, 40))) == [
        "0" * 9 + "1", "010", "0" * 29 + "1", "1"
    ]  # fmt: skip
    assert texts(selector("global")(weights, ones(weights), asking(0.9, 40)))[:2] == ["0" * 10, "000"]


SHAPES = [(16, 3, 3, 3), (32, 16, 3, 3), (10, 32)]  # 432, 4608 and 320 weights


@pytest.mark.parametrize(
    ("name", "sparsity", "removed"),
    [
        ("uniform", 0.5, [216, 2304, 160]),
        ("uniform_plus", 0.5, [0, 2506, 174]),
        ("erk", 0.5, [0, 2680, 0]),
        ("uniform", 0.8, [346, 3686, 256]),
        ("uniform_plus", 0.8, [0, 4032, 256]),
        ("erk", 0.8, [194, 4094, 0]),
        ("uniform", 0.9, [389, 4147, 288]),
        ("uniform_plus", 0.9, [0, 4568, 256]),
        ("erk", 0.9, [321, 4369, 134]),
    ],
)
def test_counts_per_layer(name: str, sparsity: float, removed: list[int]) -> None:
    layers = [Layer(shape=shape, num_left=math.prod(shape)) for shape in SHAPES]
    assert selector(name).counts(layers, asking(sparsity, round(sparsity * 5360))) == removed


def test_filters_of_lowest_norm_go_and_one_stays() -> None:
    rows = [[3.0, 4.0], [1.0, 0.0], [1.0, 1.0], [2.0, 2.0]]  # norms 5, 1, 1.41, 2.83
    weights = of([torch.tensor(rows).view(4, 2, 1, 1), torch.ones(1, 1, 3, 3)])
    filters = selector("filter_l2")
    half = filters(weights, ones(weights), target(0.5, ones(weights)))
    assert texts(half) == ["11000011", "1" * 9]
    assert texts(filters(weights, ones(weights), target(0.9, ones(weights)))) == ["11000000", "1" * 9]
    assert texts(filters(weights, half, target(0.5, half))) == ["11000000", "1" * 9]  # half of the two that are left


def test_filters_are_ranked_by_l2_not_by_l1() -> None:
    """[2, 2] has the smaller L2 norm, sqrt(8) < 3, and the larger L1 norm."""
    weights = of([torch.tensor([[3.0, 0.0], [2.0, 2.0]]).view(2, 1, 1, 2)])
    assert texts(selector("filter_l2")(weights, ones(weights), asking(0.5, 2))) == ["1100"]


def test_filter_norms_of_masked_weights_are_those_of_what_is_left() -> None:
    weights = of([torch.tensor([[9.0, 1.0], [2.0, 2.0]]).view(2, 2, 1, 1)])
    masks = {"layer0": torch.tensor([[False, True], [True, True]]).view(2, 2, 1, 1)}
    assert texts(selector("filter_l2")(weights, masks, target(0.5, masks))) == ["0011"]


def test_uniform_plus_spares_a_first_convolution_but_no_first_linear_layer() -> None:
    for shape, removed in (((10, 5, 2), [0, 100]), ((10, 10), [50, 50])):
        layers = [Layer(shape=shape, num_left=100), Layer(shape=(20, 10), num_left=200)]
        counts = selector("uniform_plus").counts(layers, asking(1 / 3, 100))
        assert counts == (removed if removed[0] == 0 else [33, 67])


def test_largest_feasible_sparsity_is_named() -> None:
    """The spec's example: all of 4608 and 320 - 64 can go, 4864 of 5360, 90.746 %."""
    layers = [Layer(shape=shape, num_left=math.prod(shape)) for shape in SHAPES]
    uniform_plus = selector("uniform_plus")
    says = (
        r"^sparsity: selector=uniform_plus cannot remove 4878 of 5360 weights, because the first convolution "
        r"keeps all and the last layer 0\.2 of its own; choose at most 0\.9074, or another selector$"
    )
    with pytest.raises(ConfigError, match=says):
        uniform_plus.check(SHAPES, asking(0.91, round(0.91 * 5360)))
    assert uniform_plus.counts(layers, asking(0.9074, 4864)) == [0, 4608, 256]
    with pytest.raises(ConfigError):
        uniform_plus.counts(layers, asking(0.9076, 4865))
    assert uniform_plus.counts(layers, asking(0.9, 0)) == [0, 0, 0]


@pytest.mark.parametrize("shapes", [[(4, 2, 3, 3)], [(3, 3)], [(4, 2, 3, 3), (2, 5)], [(1, 1), (1, 1)]])
def test_uniform_plus_with_few_layers_removes_all_it_may_and_no_more(shapes: list[tuple[int, ...]]) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    able = sum(sizes[1:] if len(shapes[0]) > 2 else sizes)
    able -= round(0.2 * sizes[-1]) if able else 0
    layers = [Layer(shape=shape, num_left=size) for shape, size in zip(shapes, sizes, strict=True)]
    for num in range(sum(sizes) + 1):
        asked = asking(num / sum(sizes), num)
        if num > able:
            with pytest.raises(ConfigError, match="choose at most"):
                selector("uniform_plus").counts(layers, asked)
        else:
            assert abs(sum(selector("uniform_plus").counts(layers, asked)) - num) <= 1


def test_uniform_plus_rounds_a_half_in_favour_of_the_last_layer() -> None:
    layers = [Layer(shape=(1, 3), num_left=3), Layer(shape=(1, 10), num_left=3)]
    assert selector("uniform_plus").counts(layers, asking(0.5, 10)) == [2, 1]  # it must keep 2 of 10


def test_more_than_all_is_refused_for_every_selector() -> None:
    with pytest.raises(
        ConfigError, match=r"^sparsity: 1\.2 of the remaining weights cannot be removed by any selector"
    ):
        asking(1.2, 6)


def test_random_follows_its_seed_alone() -> None:
    weights = of([torch.rand(40, 50), torch.rand(10, 3, 3, 3)])
    state = torch.get_rng_state()
    one, same, other = (
        selector("random", seed=s)(weights, ones(weights), target(0.5, ones(weights))) for s in (1, 1, 2)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert texts(one) == texts(same) != texts(other)
    flipped = {name: w.flip(0) for name, w in weights.items()}
    assert texts(selector("random", seed=1)(flipped, ones(weights), target(0.5, ones(weights)))) == texts(one)
    assert gone(one)[0] / 2000 == pytest.approx(0.5, abs=0.05)  # every layer alike
    at_once = selector("random", seed=1)(weights, ones(weights), asking(0.75, 2000))
    assert texts(selector("random", seed=1)(weights, one, asking(0.5, 2000))) == texts(at_once)


# Laws for every selector in conf/selector

SIZES = st.one_of(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 4), st.integers(1, 8)),
)


@st.composite
def some_weights(draw: st.DrawFn) -> Weights:
    """Layers of any kind; all zero, all equal, with many ties, or without any."""
    tensors = []
    for shape in draw(st.lists(SIZES, min_size=1, max_size=5)):
        kind, seed = draw(st.sampled_from(["zero", "equal", "ties", "normal"])), draw(st.integers(0, 99))
        values = {
            "zero": torch.zeros(shape),
            "equal": torch.full(shape, -0.25),
            "ties": torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float(),
            "normal": torch.randn(shape, generator=torch.Generator().manual_seed(seed)),
        }
        tensors.append(values[kind])
    return of(tensors)


def due(name: str, masks: Masks, asked: PruningTarget) -> int | list[int]:
    """How many must be gone: in all, or in each layer where the criterion has a rule per layer."""
    made = selector(name)
    if name == "filter_l2":
        counts = []
        for mask in masks.values():
            filters, size = mask.flatten(1).any(1).sum().item() if mask.ndim > 2 else 0, mask[:1].numel()
            counts.append(int(max(0, min(round(asked.fraction_of_remaining * filters), filters - 1)) * size))
    elif isinstance(made, PerLayer):
        counts = made.counts([Layer(shape=tuple(m.shape), num_left=int(m.sum())) for m in masks.values()], asked)
    else:
        return asked.total_pruned
    return [before + count for before, count in zip(gone(masks), counts, strict=True)]


def order(name: str, weight: Tensor) -> list[int]:
    """The entries of a layer in the order in which they must go."""
    key = weight.abs()
    if name == "filter_l2":
        key = weight.flatten(1).square().sum(1).view(-1, *[1] * (weight.ndim - 1)).expand(weight.shape)
    values = key.flatten().tolist()
    return sorted(range(len(values)), key=lambda i: (values[i], i))


@pytest.mark.parametrize("name", OPTIONS)
@given(weights=some_weights(), fractions=st.tuples(st.floats(0, 0.99), st.floats(0, 1)))
@settings(max_examples=60, deadline=None)
def test_laws(name: str, weights: Weights, fractions: tuple[float, float]) -> None:
    before = {n: w.clone() for n, w in weights.items()}
    masks, cycles = ones(weights), []
    for fraction in fractions:
        asked, given_masks = target(fraction, masks), {n: m.clone() for n, m in masks.items()}
        try:
            expected = due(name, masks, asked)
        except ConfigError:
            with pytest.raises(ConfigError):
                selector(name)(weights, masks, asked)
            break
        new = selector(name)(weights, masks, asked)
        assert [(n, m.dtype, m.shape) for n, m in new.items()] == [(n, torch.bool, w.shape) for n, w in weights.items()]
        assert (gone(new) if isinstance(expected, list) else sum(gone(new))) == expected
        assert all(not (new[n] & ~masks[n]).any() for n in masks)
        assert all(torch.equal(given_masks[n], masks[n]) for n in masks)
        cycles.append(new)
        masks = new
    assert all(torch.equal(before[n], weights[n]) for n in weights)
    for new in cycles[:1]:
        for weight, mask in zip(weights.values(), new.values(), strict=True):
            if name == "random" or (name == "filter_l2" and weight.ndim == 2):
                continue
            lost = order(name, weight)[: int((~mask).sum())]  # ties by index
            assert (~mask).flatten().nonzero().flatten().tolist() == sorted(lost)
    images = {n: w.to(memory_format=torch.channels_last) if w.ndim == 4 else w for n, w in weights.items()}
    masks = ones(images)
    for fraction, new in zip(fractions, cycles, strict=False):
        masks = selector(name)(images, masks, target(fraction, masks))
        assert texts(masks) == texts(new)


@pytest.mark.parametrize("name", [name for name in OPTIONS if isinstance(selector(name), PerLayer)])
@given(shapes=st.lists(SIZES, min_size=1, max_size=5), data=st.data())
@settings(max_examples=150)
def test_counts_per_layer_are_possible_and_miss_the_number_in_all_by_roundings_only(
    name: str, shapes: list[tuple[int, ...]], data: st.DataObject
) -> None:
    layers = [Layer(shape=shape, num_left=data.draw(st.integers(0, math.prod(shape)))) for shape in shapes]
    num_weights, num_left = sum(x.num_weights for x in layers), sum(x.num_left for x in layers)
    num = data.draw(st.integers(0, num_left))
    asked = asking(num / max(1, num_left), num_weights - num_left + num)
    try:
        counts = selector(name).counts(layers, asked)
    except ConfigError as error:
        most = math.floor(float(str(error).split("choose at most ")[1].split(",")[0]) * num_weights)
        num, asked = most - num_weights + num_left, asking(0.5, most)
        counts = selector(name).counts(layers, asked) if num > 0 else [0] * len(layers)
        num = max(0, num)
    assert all(0 <= count <= layer.num_left for count, layer in zip(counts, layers, strict=True))
    assert abs(sum(counts) - num) <= len(layers) / 2 + 1e-9
    if name == "uniform_plus":
        must_stay = [0] * (len(layers) - 1) + [round(0.2 * layers[-1].num_weights)]
        must_stay = [layers[0].num_weights if layers[0].is_conv else must_stay[0], *must_stay[1:]]
        stays = [layer.num_left - count for layer, count in zip(layers, counts, strict=True)]
        assert all(s >= min(m, layer.num_left) for s, m, layer in zip(stays, must_stay, layers, strict=True))


@pytest.mark.parametrize("name", OPTIONS)
def test_numbers_that_are_none_are_kept_longest(name: str) -> None:
    weights = of([torch.arange(24.0).view(6, 4, 1, 1), torch.arange(1.0, 25).view(4, 6)])
    weights["layer0"][5], weights["layer1"][3, 5] = torch.nan, torch.inf
    masks = selector(name)(weights, ones(weights), target(0.3, ones(weights)))
    expected = due(name, ones(weights), target(0.3, ones(weights)))
    assert (gone(masks) if isinstance(expected, list) else sum(gone(masks))) == expected
    assert name == "random" or (masks["layer0"][5].all() and masks["layer1"][3, 5])


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_any_type_of_weights_and_those_that_are_trained(name: str, dtype: torch.dtype) -> None:
    values = of([torch.arange(-8.0, 8).view(4, 1, 2, 2), torch.arange(1.0, 17).view(4, 4)])
    weights = {n: nn.Parameter(w.to(dtype)) for n, w in values.items()}
    asked = target(0.3, ones(values))
    assert texts(selector(name)(weights, ones(values), asked)) == texts(selector(name)(values, ones(values), asked))


def test_a_zero_that_is_not_masked_counts_as_there() -> None:
    weights = {"a": torch.tensor([0.0, 0.0, 1.0, 2.0])}
    masks = {"a": torch.tensor([False, True, True, True])}
    for name in ("global", "uniform", "lamp"):
        assert texts(selector(name)(weights, masks, asking(1 / 3, 2))) == ["0011"]
    masks = {"a": torch.tensor([True, True, True, False])}  # what is pruned goes first, whatever its place
    for name in ("global", "uniform", "lamp", "random"):
        assert texts(selector(name)(weights, masks, asking(0, 1))) == ["1110"]
    filters = {"a": torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1, 1)}
    masks = {"a": torch.tensor([True, True, False]).view(3, 1, 1, 1)}
    assert texts(selector("filter_l2")(filters, masks, asking(0.5, 2))) == ["010"]


def test_a_pruned_weight_that_grew_stays_pruned() -> None:
    weights = {"a": torch.tensor([9.0, 0.1, 0.2, 0.3])}
    masks = {"a": torch.tensor([False, True, True, True])}
    for name in ("global", "uniform", "lamp"):
        assert texts(selector(name)(weights, masks, asking(1 / 3, 2))) == ["0011"]


def test_global_ties_go_in_the_order_of_layers_and_entries() -> None:
    weights = {"a": torch.tensor([[0.3, -0.3], [0.3, 0.1]]), "b": torch.tensor([-0.3, 0.3])}
    masks = selector("global")(weights, ones(weights), asking(0.5, 3))
    assert texts(masks) == ["0010", "11"]  # 0.1, then the first two of five times 0.3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", OPTIONS)
def test_on_a_gpu_as_on_the_cpu(name: str) -> None:
    weights = of([torch.randn(8, 4, 3, 3).round(decimals=1), torch.randn(10, 8).round(decimals=1)])
    there = {n: w.cuda() for n, w in weights.items()}
    asked = target(0.5, ones(weights))
    found = selector(name)(there, ones(there), asked)
    assert all(mask.is_cuda for mask in found.values())
    assert texts(found) == texts(selector(name)(weights, ones(weights), asked))
