"""result.json as typed values: nothing is lost, old files load."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from bimp_exp.results.schema import Candidate, Final, NetworkFacts, PhaseResult, Result
from tests import toy_runs


@pytest.fixture(scope="module", params=["imp", "gmp", "dense"])
def written(request: pytest.FixtureRequest) -> Any:
    """What the file says of a run whose phases are pruned between, while training, and not at all."""
    made = toy_runs.experiment(request.param, schedule="allr")
    return json.loads(json.dumps(toy_runs.run(made)))


def test_a_result_that_is_read_and_written_again_has_the_same_bytes(written: Any) -> None:
    assert json.dumps(Result.from_json(written).to_json()) == json.dumps(written)


def test_a_phase_can_be_kept_in_a_checkpoint(written: Any) -> None:
    for phase in Result.from_json(written).phases:
        assert PhaseResult.from_json(phase.to_json()) == phase
        del (dumped := phase.to_json())["key"]
        assert "key" not in PhaseResult.from_json(dumped).to_json()


def test_the_final_network_is_a_candidate_and_what_it_is_like() -> None:
    facts = NetworkFacts(
        sparsity=0.5, sparsity_all_parameters=0.4, multiply_adds_dense=8, multiply_adds_sparse=0.0,
        theoretical_speedup=math.inf, layers=(),
    )  # fmt: skip
    chosen = Candidate(phase="training", epochs=4, sparsity=0.5, train=1.0, validation=0.9, test=0.8)
    final = Final.of(chosen, facts)
    assert list(final.to_json()) == [
        "phase", "epochs", "sparsity", "train", "validation", "test", "sparsity_all_parameters", "multiply_adds_dense",
        "multiply_adds_sparse", "theoretical_speedup", "layers",
    ]  # fmt: skip
    assert final.to_json()["theoretical_speedup"] == "inf"
    assert Final.from_json(final.to_json()) == final


def test_a_file_of_an_older_version_loads(written: Any) -> None:
    old = {
        key: value for key, value in written.items() if key not in ("candidates", "ledger", "attested", "computed_on")
    }
    old["final"] = {key: value for key, value in old["final"].items() if key not in ("phase", "epochs")}
    old["phases"] = [{k: v for k, v in p.items() if k not in ("key", "seconds_warming_up")} for p in old["phases"]]
    result = Result.from_json(old)
    assert (result.ledger, result.candidates, result.final.phase, result.phases[0].key) == (None, None, None, None)
    assert result.to_json() == old


def test_a_key_that_is_absent_or_wrong_is_named(written: Any) -> None:
    with pytest.raises(ValueError, match=r"final\.test"):
        Result.from_json(written | {"final": {key: v for key, v in written["final"].items() if key != "test"}})
    with pytest.raises(ValueError, match=r"phases\.0\.num_steps"):
        Result.from_json(written | {"phases": [written["phases"][0] | {"num_steps": "many"}]})


def test_reading_needs_neither_pytorch_nor_hydra() -> None:
    code = "import sys, bimp_exp.results.schema; assert not {'torch', 'hydra', 'mlflow'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
