"""What a run computes stays what it is unless ``bimp_exp.run.keys.ALGORITHM`` is raised, since stored phases would be stale.

The modules of ``bimp_exp.run`` are in no phase key. So whoever changes what they compute sees this test fail, raises ALGORITHM
and writes the golden numbers anew: ``python -m tests.test_algorithm``. They hold on every machine, up to rounding.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from bimp_exp.run.keys import ALGORITHM
from tests.conftest import ROOT, composed
from tests.toy_runs import Forgetful, experiment, run

GOLDEN = ROOT / "tests" / "golden" / "algorithm.json"
METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml") if path.stem != "dense")
CASES = [f"{method} {conventions}" for method in METHODS for conventions in ("clean", "paper")]
ROUNDING = 1e-4  # in six steps machines differ by less, and any change of the algorithm makes more


def numbers(case: str) -> dict[str, Any]:
    """The metrics of every phase, d, and of each stored tensor two sums that tell it apart from others."""
    from hydra.utils import instantiate

    method, conventions = case.split()
    store = Forgetful()
    made = experiment(
        method, schedule="lrw" if method == "wr" else "acc_allr" if method == "imp" else "allr", store=store
    )
    made = dataclasses.replace(made, conventions=instantiate(composed(f"conventions={conventions}")["conventions"]))
    result = run(made)
    sums = [
        {
            name: [
                float(tensor.double().sum()),
                sum(math.cos(i) * x for i, x in enumerate(tensor.double().flatten().tolist())),
            ]
            for name, tensor in state["model"].items()
        }
        for state in store.states
    ]
    return {
        "metrics": [phase["metrics"] for phase in result["phases"]],
        "right_after": [phase["pruning"]["right_after"] for phase in result["phases"] if phase["pruning"]],
        "d": [phase["pruning"]["d"] for phase in result["phases"] if phase["pruning"]],
        "final": {key: result["final"][key] for key in ("phase", "sparsity", "train", "validation", "test")},
        "images_evaluated": result["ledger"]["images_evaluated"],
        "sums": sums,
    }


def close(found: Any, golden: Any, place: str = "") -> None:
    if isinstance(golden, dict):
        assert found.keys() == golden.keys(), place
        for key in golden:
            close(found[key], golden[key], f"{place}/{key}")
    elif isinstance(golden, list):
        assert len(found) == len(golden), place
        for i, (a, b) in enumerate(zip(found, golden, strict=True)):
            close(a, b, f"{place}/{i}")
    elif isinstance(golden, float):
        assert found == pytest.approx(golden, rel=ROUNDING, abs=ROUNDING), place
    else:
        assert found == golden, place


@pytest.mark.parametrize("case", CASES)
def test_a_run_computes_what_its_algorithm_says(case: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert golden["algorithm"] == ALGORITHM, "write the golden numbers anew: python -m tests.test_algorithm"
    close(numbers(case), golden["runs"][case], case)


if __name__ == "__main__":
    found = {"algorithm": ALGORITHM, "runs": {case: numbers(case) for case in CASES}}
    GOLDEN.write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n")
