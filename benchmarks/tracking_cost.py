"""What tracking costs the process that trains: seconds inside its calls, as a share of the seconds that it trains.

    OMP_NUM_THREADS=1 python benchmarks/tracking_cost.py

Two commands on the embedded digits, each in a new folder, so that MLflow's database is made as well: ``python run.py`` and the
six runs of ``python run.py -m schedule=allr,clr budget.cycles=1,2,3``. Beside the seconds inside calls stands what is not
training any more, the wait at the end of the process until the rest is mirrored, and the processor time that the mirroring
process had meanwhile, which on a machine without an idle core is taken from somebody. ``--code FOLDER`` measures another
checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {"a run": [], "a sweep of 6": ["-m", "schedule=allr,clr", "budget.cycles=1,2,3"]}
TIMED = """
import atexit, functools, json, resource, runpy, sys, time

inside = 0.0

def timed(function):
    @functools.wraps(function)
    def call(*given, **named):
        global inside
        start = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            inside += time.perf_counter() - start
    return call

def tell():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = {"inside": inside, "end": time.perf_counter() - over, "beside": used.ru_utime + used.ru_stime}
    print("FACTS" + json.dumps(facts), file=sys.stderr)

atexit.register(tell)  # called after what is registered later
from bimp_exp.tracking.mlflow import MLflow
for name in ("sync", "sync_sweep"):
    setattr(MLflow, name, timed(getattr(MLflow, name)))
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    over = time.perf_counter()
"""


def measure(code: Path = ROOT) -> list[dict[str, Any]]:
    """A row for each command, with seconds and, in percent, the share of the training seconds spent inside calls."""
    return [{"command": name, **_measure(arguments, code)} for name, arguments in COMMANDS.items()]


def _measure(arguments: list[str], code: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", TIMED, str(code / "run.py"), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(code)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        facts = json.loads(done.stderr.rpartition("FACTS")[2])
        results = [json.loads(path.read_text()) for path in Path(folder).glob("results/*/**/result.json")]
    phases = {phase["key"]: phase["seconds_training"] for result in results for phase in result["phases"]}
    training = sum(phases.values())  # what runs share was trained once
    return {
        "training [s]": round(training, 2),
        "inside calls [s]": round(facts["inside"], 4),
        "share [%]": round(100 * facts["inside"] / training, 3),
        "wait at the end [s]": round(facts["end"], 2),
        "processor time beside [s]": round(facts["beside"], 2),
    }


def main() -> None:
    """Print the rows as a table in Markdown."""
    parser = argparse.ArgumentParser(description="What tracking costs the process that trains.")
    parser.add_argument("--code", type=Path, default=ROOT, help="a checkout to measure (default: this one)")
    rows = measure(parser.parse_args().code.resolve())
    print("| " + " | ".join(rows[0]) + " |\n| --- |" + " --: |" * (len(rows[0]) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


if __name__ == "__main__":
    main()
