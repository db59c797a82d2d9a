"""external: our training loop against any other program, given as ``--external "COMMAND"``.

COMMAND is run by the shell, once a round, in the current folder; ``CIFAR_ROOT`` tells it where CIFAR-10's files are. The last line
that it prints must be ``images_per_second=NUMBER``, of training as it would count it itself, without its start. What it trains
is its own affair: for a fair ratio the first of ``--models`` with the same batch size, 128.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace

from benchmarks.ours import Ours, Settings
from benchmarks.rounds import Clock, Row, Sample, Skipped, interleave, make, rate, ratio

LAST_LINE = re.compile(r"images_per_second=([0-9.]+(?:e[+-]?[0-9]+)?)")


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """The first of the models, as configured, over the command."""
    if settings.external is None:
        raise Skipped('no --external "COMMAND" was given')
    command, model = settings.external, settings.models[0]
    ready = make({"ours": lambda: Ours(settings, model).train}, clock)
    both = {**ready.contenders, "external": lambda: _external(command, settings.root, clock.left())}
    rounds = interleave(replace(ready, contenders=both), clock, settings.rounds)
    return [
        ratio(f"{model}: ours / external", rounds, "ours", "external"),
        *(rate(f"{model}: {name}", "images/s", rounds, name) for name in both),
    ]


def _external(command: str, root: str, seconds: float) -> Sample:
    try:
        done = subprocess.run(
            command,
            shell=True,
            capture_output=True,
            text=True,
            timeout=max(seconds, 1),
            env=os.environ | {"CIFAR_ROOT": root},
        )
    except subprocess.TimeoutExpired:
        raise Skipped(f"the external command took longer than {seconds:.0f} s: give --minutes more") from None
    last = (done.stdout.strip().splitlines() or [""])[-1]
    found = LAST_LINE.fullmatch(last.strip())
    if done.returncode or not found:
        said = (done.stderr.strip().splitlines() or [last])[-1]
        raise Skipped(f"the external command ended with status {done.returncode}, no images_per_second=NUMBER ({said})")
    return float(found[1]), 1.0
