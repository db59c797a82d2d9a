"""packed: 1, 2, 4 and 8 trials side by side, each in a process of its own; images per second of all together, and their memory.

On a CPU one and two trials, which share the threads. They share a GPU as those of a launcher do (``bimp_exp.sweep.pool``).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

import torch

from benchmarks.ours import ROOT, Ours, Settings
from benchmarks.rounds import Clock, Contender, Ready, Row, Sample, Skipped, interleave, note, rate, ratio, row
from bimp_exp.sweep.pool import sharing_gpu

GPU_BAR = 150_000.0  # images/s of ResNet-56, of all trials together


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """The first of the models, as configured, for every number of trials over one alone."""
    gpu = torch.cuda.is_available()
    sizes = [1, 2, 4, 8] if gpu else [1, 2]
    with ExitStack() as stack:
        environment, how = stack.enter_context(sharing_gpu(os.environ))
        trials = [stack.enter_context(_Trial(settings, environment)) for _ in range(sizes[-1])]
        for trial in trials:
            trial.ready()
        together: dict[str, Contender] = {f"{k}": partial(_side_by_side, trials[:k], settings.window) for k in sizes}
        ready = Ready(contenders=together, seconds=settings.window * len(sizes))
        rounds = interleave(ready, clock, settings.rounds, pids=[trial.process.pid for trial in trials])
        memory = max(trial.memory for trial in trials)
    model = settings.models[0]
    sums = [rate(f"{model}: sum of {k} trials", "images/s", rounds, str(k)) for k in sizes]
    if gpu and model == "resnet56":
        best = max(sums, key=lambda each: float(each["median"]))
        best |= {"bar": GPU_BAR, "met": best["median"] >= GPU_BAR}
    return [
        *(ratio(f"{model}: sum of {k} trials / one alone", rounds, str(k), "1") for k in sizes[1:]),
        *sums,
        row(f"{model}: peak memory of a trial, {'on the device' if gpu else 'resident'}", "MiB", [memory / 2**20]),
        *([note(how.removeprefix("; "))] if how else []),
    ]


class _Trial:
    """A process that trains when told to."""

    def __init__(self, settings: Settings, environment: dict[str, str]) -> None:
        self.memory = 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.packed", json.dumps(asdict(settings))],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ready(self) -> None:
        """Wait until it has warmed up."""
        self._answer()

    def start(self, threads: int, seconds: float) -> None:
        """Train for ``seconds`` and the rest of an epoch."""
        assert self.process.stdin
        self.process.stdin.write(f"{threads} {seconds}\n")
        self.process.stdin.flush()

    def images_per_second(self) -> float:
        """What the training that was started came to."""
        images, seconds, self.memory = self._answer()
        return images / seconds

    def _answer(self) -> list[float]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise Skipped(f"a packed trial ended with status {self.process.wait()}")
        answer: list[float] = json.loads(line)
        return answer

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.process.communicate(
                timeout=10
            )  # it ends when its input does; to kill one can harm the others on a GPU
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def _side_by_side(trials: Sequence[_Trial], seconds: float) -> Sample:
    """Images per second of all together."""
    threads = max(1, torch.get_num_threads() // len(trials))
    for trial in trials:
        trial.start(threads, seconds)
    return sum(trial.images_per_second() for trial in trials), 1.0


def _serve(settings: Settings) -> None:
    """Train as told by lines ``threads seconds``; answer with images, seconds and peak memory in bytes."""
    trial = Ours(settings, settings.models[0])
    trial.train()
    print("[]", flush=True)
    for line in sys.stdin:
        threads, seconds = line.split()
        trial.limit_threads(int(threads))
        num_images, start = 0.0, time.perf_counter()
        while time.perf_counter() - start < float(seconds):
            num_images += trial.train()[0]
        spent = time.perf_counter() - start
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 1024 * kib
        print(json.dumps([num_images, spent, memory]), flush=True)


if __name__ == "__main__":
    _serve(Settings(**json.loads(sys.argv[1])))
