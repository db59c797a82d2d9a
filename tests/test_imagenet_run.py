"""A whole run on images that stay on disk, as a user starts it: killed and continued, it ends with the same bits."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, composed
from tests.dataset.pictures import NUM_TEST, NUM_TRAIN, write_tree
from tests.test_resume import do, same
from tests.test_run import load, run

KEYS = [
    "dataset=imagenet", "dataset.root=images", "dataset.image_shape=[3,32,32]", "dataset.resize=40", "dataset.num_classes=4",
    f"dataset.num_train_images={NUM_TRAIN}", f"dataset.num_test_images={NUM_TEST}", "model.depth=8", "optim.batch_size=4",
    "runtime.threads=1", "tracking=none", "store=own", "budget.epochs=5", "budget.dense_epochs=3", "budget.cycles=1",
]  # fmt: skip


def at_work_in(folder: Path) -> list[Path]:
    """Processes that were started in ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours
            if (process / "cwd").resolve(strict=True) == folder and process.name != str(os.getpid()):
                found.append(process)
    return found


def test_a_killed_run_ends_with_the_bits_of_one_that_decoded_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    do(tmp_path / "whole", composed(*KEYS, "dataset.num_workers=0"))
    assert [p["num_images"] for p in load(tmp_path / "whole" / "result.json")["phases"]] == [3 * 36, 2 * 36]
    keys = [*KEYS, "dataset.num_workers=2", "store.every=0", "hydra.run.dir=killed"]
    first = subprocess.Popen([sys.executable, str(ROOT / "run.py"), *keys], cwd=tmp_path, stderr=subprocess.DEVNULL)
    phases = tmp_path / "killed" / "phases"
    while not [file for file in phases.glob("*/*.pt") if file.name != "done.pt"]:
        assert first.poll() is None
        time.sleep(0.005)
    first.kill()
    first.wait()
    assert not (tmp_path / "killed" / "result.json").exists()
    end = time.monotonic() + 600
    while at_work_in(tmp_path):  # what was decoding ends by itself
        assert time.monotonic() < end
        time.sleep(0.05)
    run(tmp_path, *keys)
    same(tmp_path / "whole", tmp_path / "killed")
