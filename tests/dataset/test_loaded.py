"""A worker reads each data set once, and keeps few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from bimp_exp.dataset import loaded
from bimp_exp.dataset.base import Source
from bimp_exp.dataset.digits import Digits
from tests.conftest import ROOT


def test_equal_data_sets_are_read_once_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        digits = instantiate(compose("config", overrides=["dataset.subset=200"]).dataset, _convert_="all")
    number, read = 0, Digits.read

    def count(self: Digits) -> Source:
        nonlocal number
        number += 1
        return read(self)

    monkeypatch.setattr(Digits, "read", count)
    monkeypatch.setattr(loaded, "_kept", type(loaded._kept)())

    def load(dataset: Digits, *, augment: bool = False) -> str:
        cpu, layout = torch.device("cpu"), torch.channels_last
        data = loaded.load(dataset, cpu, augment_validation=augment, memory_format=layout)
        return f"{len(data.train) + len(data.validation)} {data.validation_seed} {number}"

    assert load(digits) == "200 None 1"
    assert load(replace(digits)) == "200 None 1"
    assert load(digits, augment=True) == "200 42 2"
    assert load(digits) == "200 None 2"
    assert load(replace(digits, subset=100)) == "100 None 3"  # in place of the augmented one
    assert load(digits) == "200 None 3"
    assert load(digits, augment=True) == "200 42 4"
