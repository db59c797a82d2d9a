"""A method that prunes while it trains, started from a trained network instead of a random one (paper, Appendix B.4: GSM, LC)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bimp_exp.model.resnet_cifar import ResNetCifar
from tests.conftest import ROOT

SMALL = ["dataset.subset=200", "model.depth=8", "optim.batch_size=32", "runtime.threads=1", "tracking=none"]


@pytest.mark.parametrize("method", ["gsm", "lc"])
def test_training_starts_from_the_weights_of_the_file(tmp_path: Path, method: str) -> None:
    """At a rate of next to nothing, what training starts from is what it ends with; the run's own seed is another one."""
    torch.manual_seed(17)
    given = ResNetCifar(8, image_shape=(1, 8, 8), num_classes=10).state_dict()
    torch.save(given, tmp_path / "given.pt")
    command = [
        sys.executable, str(ROOT / "run.py"), *SMALL, f"method={method}", "dense_checkpoint=given.pt", "sparsity=0.5",
        "budget=dense", "budget.epochs=3", "lr.initial=1e-12", "hydra.run.dir=out",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stdout + done.stderr
    training = json.loads((tmp_path / "out" / "result.json").read_text())["phases"][0]
    assert training["num_steps"] == 3 * 6  # all of budget.epochs is trained: 180 images in batches of 32
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    names = [name for name, tensor in given.items() if tensor.dim() > 1]
    before, after = (torch.cat([weights[name].flatten() for name in names]) for weights in (given, state))
    kept = after != 0
    assert torch.allclose(after[kept], before[kept], atol=1e-7)
    assert int(kept.sum()) == len(before) - round(0.5 * len(before))
    assert before[kept].abs().min() >= before[~kept].abs().max() - 1e-7  # the larger half of the file's weights
