"""hydra/launcher=slurm on a real cluster: three virtual nodes that this file starts and ends itself.

BIMP_SLURM=full is the size of the issue: chaos with 100 runs, 5,000 runs submitted, and sacct with a database.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimp_exp.sweep import snapshot
from tests.conftest import ROOT
from tests.slurm_cluster import Cluster, install, wait_for
from tests.test_resume import came_to, same

FULL = os.environ.get("BIMP_SLURM") == "full"
TINY = (
    "dataset.subset=200", "model.depth=8", "optim.batch_size=32", "budget.epochs=4", "budget.dense_epochs=2",
    "budget.cycles=2", "runtime.threads=1", "tracking=none",
)  # fmt: skip
SLURM = "hydra/launcher=slurm"
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = install()
    if reason:
        warnings.warn(f"NOTHING ABOUT SLURM IS TESTED: {reason}", stacklevel=1)  # pytest hides why it skips
        pytest.skip(reason)
    with Cluster(folder=tmp_path_factory.mktemp("slurm") / "cluster", max_array=2) as made:
        yield made


def command(folder: Path, *overrides: str, root: Path = ROOT, often: bool = False) -> list[str]:
    """A sweep in ``folder`` with a store of its own. often: it saves after each step."""
    places = [f"hydra.sweep.dir={folder}/sweep", f"store.root={folder}/phases", f"store.every={0 if often else 60}"]
    return [sys.executable, str(root / "run.py"), "-m", *TINY, *places, *overrides]


def launch(
    cluster: Cluster, folder: Path, *overrides: str, root: Path = ROOT, modules: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The command of a sweep in ``folder``, run to its end; ``modules``: folder of the user's own modules."""
    folder.mkdir(exist_ok=True)
    environment = cluster.environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(modules or "")}
    return subprocess.run(
        command(folder, *overrides, root=root), env=environment, cwd=folder, capture_output=True, text=True, timeout=600
    )  # fmt: skip


def states(cluster: Cluster) -> list[str]:
    """Of all jobs that are over, and were not dealt with by the test before."""
    return sorted(cluster.jobs().values())


def look(cluster: Cluster, sweep: Path) -> str:
    command = [sys.executable, "-m", "bimp_exp", "status", str(sweep)]
    return subprocess.run(command, env=cluster.environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def idle(cluster: Cluster) -> bool:
    return not cluster.run("squeue", "-h").strip()


def test_a_sweep_on_slurm_equals_the_local_one_and_its_failed_jobs_say_so(cluster: Cluster, tmp_path: Path) -> None:
    grid = ("schedule=allr,clr,llr", "lr.initial=0.1,1e30")
    workers = ("hydra.launcher.jobs=3", "+hydra.launcher.additional_parameters.hold=true")
    done = launch(cluster, tmp_path / "slurm", *grid, SLURM, *workers, "hydra.launcher.gpus_per_node=1")
    sweep = tmp_path / "slurm" / "sweep"
    assert done.returncode == 0, done.stderr
    assert "6 runs to do: 3 workers submitted, 0 there already; before them 2 train" in done.stdout
    assert not list(sweep.glob("*/result.json"))  # it did not wait
    assert len(cluster.jobs()) == 2 + 3  # in arrays of at most 2
    assert "5 pending (JobHeldUser)" in look(cluster, sweep)
    there = launch(cluster, tmp_path / "slurm", *grid, SLURM, *workers)
    assert "6 runs to do: 0 workers submitted, 3 there already" in there.stdout
    for job in {*cluster.run("squeue", "-h", "-o", "%F").split()}:
        cluster.run("scontrol", "release", job)
    local = launch(cluster, tmp_path / "local", *grid)
    assert "3 of 6 runs failed" in local.stderr
    wait_for(lambda: idle(cluster))
    assert set(states(cluster)) == {"COMPLETED", "FAILED"}
    results = sorted(path.parent.name for path in sweep.glob("*/result.json"))
    assert len(results) == 3
    assert len(list(sweep.glob("*/failed.json"))) == 3
    for name in results:
        same(sweep / name, tmp_path / "local" / "sweep" / name)
        given = json.loads((sweep / name / "run.json").read_text())["provenance"]["command"]
        assert given == shlex.join(["run.py", *command(tmp_path / "slurm", *grid, SLURM, *workers)[2:]])
    assert (sweep / "summary.csv").exists()  # the last worker wrote it
    number = len(cluster.jobs())
    again = launch(cluster, tmp_path / "slurm", *grid, SLURM)
    assert "no runs to do" in again.stdout
    assert "3 of 6 runs failed" in again.stderr
    assert len(cluster.jobs()) == number
    more = launch(cluster, tmp_path / "slurm", grid[0], "lr.initial=0.1,0.2", SLURM, "hydra.launcher.partition=dry")
    assert "3 runs to do: 3 workers submitted, 0 there already" in more.stdout
    assert sum(map(int, re.findall(r"(\d+) pending \(", look(cluster, sweep)))) == 1 + 3  # one trains what they share
    cluster.run("scancel", "--user=root")
    assert "workers: none is queued or running" in look(cluster, sweep)


def test_jobs_run_the_code_that_was_submitted(cluster: Cluster, tmp_path: Path) -> None:
    project = snapshot.take(tmp_path / "project")
    arguments = (SLURM, "seed=0,1", "hydra.launcher.jobs=1", "+hydra.launcher.additional_parameters.hold=true")
    assert launch(cluster, tmp_path / "a", *arguments, root=project).returncode == 0
    edited = project / "bimp_exp" / "run" / "execute.py"
    edited.write_text(edited.read_text() + "raise RuntimeError\n")
    changed = launch(cluster, tmp_path / "a", *arguments, root=project)
    assert "2 runs to do: 0 workers submitted, 1 there already" in changed.stdout
    assert "not that of an earlier submission of this sweep: bimp_exp/run/execute.py differ" in changed.stdout
    (job,) = cluster.run("squeue", "-h", "-o", "%A").split()
    cluster.run("scontrol", "release", job)
    wait_for(lambda: idle(cluster))
    runs = list((tmp_path / "a" / "sweep").glob("*/result.json"))
    assert len(runs) == 2
    facts = json.loads((runs[0].parent / "run.json").read_text())
    assert facts["provenance"]["git"] == json.loads((project / "git.json").read_text())


SCHEDULE = """
from dataclasses import dataclass
from bimp_exp.schedule.base import Discounted, PruneReport
from mine.factors import FACTOR

@dataclass(frozen=True, kw_only=True)
class Mine(Discounted):
    def discount(self, report: PruneReport) -> float:
        return FACTOR
"""


def test_jobs_run_the_users_own_code_of_the_submission(cluster: Cluster, tmp_path: Path) -> None:
    """A schedule outside the repository, whose module imports another that is edited while the jobs wait."""
    package, groups = tmp_path / "mine", tmp_path / "conf" / "schedule"
    for folder in (package, groups):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "schedule.py").write_text(SCHEDULE)
    (package / "factors.py").write_text("FACTOR = 0.5\n")
    (groups / "mine.yaml").write_text("_target_: mine.schedule.Mine\nwarmup: 0.0\n")
    grid = (
        f"hydra.searchpath=[file://{tmp_path / 'conf'}]",
        "schedule=mine",
        "seed=0,1",
        "hydra/launcher=submitit_slurm",
    )
    held = ("hydra.launcher.jobs=1", "+hydra.launcher.additional_parameters.hold=true")
    done = launch(cluster, tmp_path / "a", *grid, *held, modules=tmp_path)
    assert "2 runs to do: 1 worker submitted, 0 there already" in done.stdout, done.stderr
    (package / "factors.py").write_text("FACTOR = 0.005\n")
    again = launch(cluster, tmp_path / "a", *grid, *held, modules=tmp_path)
    assert "earlier submission of this sweep: user_modules/mine/factors.py differ" in again.stdout
    (job,) = cluster.run("squeue", "-h", "-o", "%A").split()
    cluster.run("scontrol", "release", job)
    wait_for(lambda: idle(cluster))
    results = [json.loads(path.read_text()) for path in (tmp_path / "a" / "sweep").glob("*/result.json")]
    assert [result["phases"][1]["learning_rate"]["peak"] for result in results] == pytest.approx([0.05, 0.05])


def test_what_slurm_refuses_is_one_line(cluster: Cluster, tmp_path: Path) -> None:
    refused = launch(cluster, tmp_path, SLURM, "seed=0,1", "hydra.launcher.partition=nowhere")
    assert refused.returncode == 2
    assert "invalid partition specified: nowhere" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_two_runs_at_a_time_equal_the_local_ones_and_a_failure_outlasts_a_requeue(
    cluster: Cluster, tmp_path: Path
) -> None:
    grid, before = ("lr.initial=1e30,0.1,0.05,0.02", "budget.epochs=16"), {*cluster.jobs()}
    settings = (SLURM, "hydra.launcher.jobs=2", "hydra.launcher.packed=2", "hydra.launcher.gpus_per_node=1")
    done = launch(cluster, tmp_path / "slurm", *grid, *settings)
    assert "4 runs to do: 2 workers submitted, 0 there already (each does 2 at a time)" in done.stdout, done.stderr
    sweep = tmp_path / "slurm" / "sweep"
    wait_for(lambda: any(sweep.glob("*/failed.json")))
    (failure,) = (json.loads(path.read_text()) for path in sweep.glob("*/failed.json"))
    names = dict(line.split() for line in cluster.run("squeue", "-h", "-r", "-t", "all", "-o", "%A %i").splitlines())
    signalled = names[failure["job"]]
    (other,) = {*cluster.jobs()} - before - {signalled}
    cluster.run("scancel", "--signal=USR2", signalled)
    launch(cluster, tmp_path / "local", *grid)
    wait_for(lambda: idle(cluster))
    restarts = [cluster.run("scontrol", "show", "job", job).partition("Restarts=")[2][0] for job in (signalled, other)]
    assert restarts == ["1", "0"]  # of one array, but one's leave is not the other's
    assert cluster.jobs()[signalled] == "FAILED"  # though it failed in the start before
    assert cluster.jobs()[other] == "COMPLETED"
    assert len(list(sweep.glob("*/failed.json"))) == 1
    for name in (path.parent.name for path in (tmp_path / "local" / "sweep").glob("*/result.json")):
        same(sweep / name, tmp_path / "local" / "sweep" / name)
    assert len(list(sweep.glob("*/result.json"))) == 3
    logs = "".join(path.read_text() for path in sweep.glob("slurm/**/*_log.out"))
    assert "2 processes, OMP_NUM_THREADS=1" in logs
    assert logs.count("told to leave") >= 1


class Chaos:
    """Disturbances of jobs, chosen by ``draw``."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster, self.draw = cluster, random.Random(seed)
        self.happened: list[str] = []

    def strikes(self, number: int) -> Iterator[Callable[[], None]]:
        """Each kind equally often, in an order by chance."""
        kinds = [self.requeue, self.signal, self.kill, self.preempt, self.node]
        for what in self.draw.sample([kinds[i % len(kinds)] for i in range(number)], number):
            self.happened.append(what.__name__)
            yield what

    def _ask(self, *arguments: str) -> None:
        """Ask it of SLURM for one of the workers that run; it may be over by then."""
        running = self.cluster.run("squeue", "-h", "-r", "-p", "low", "-t", "R", "-o", "%A").split()
        if running:
            job = self.draw.choice(running)
            with contextlib.suppress(subprocess.TimeoutExpired):  # its node may be dead
                subprocess.run([*arguments, job], env=self.cluster.environment, capture_output=True, timeout=60)

    def requeue(self) -> None:
        self._ask("scontrol", "requeue")

    def signal(self) -> None:
        self._ask("scancel", "--signal=USR2")

    def kill(self) -> None:
        self._ask("scancel", "--signal=KILL")

    def preempt(self) -> None:
        self.cluster.run("sbatch", "-p", "main", "-N1", "--exclusive", "-t1", "-o", "/dev/null", "--wrap", "sleep 1")

    def node(self) -> None:
        name = self.draw.choice(["n1", "n2", "n3"])
        self.cluster.kill_node(name)
        time.sleep(1)
        self.cluster.start_node(name)


def test_chaos(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs are requeued, signalled, killed and preempted, nodes and the submitter die, time limits pass: all runs are done,
    once, with the bits of undisturbed ones.
    """
    schedules, seeds, strikes = (
        ("allr,clr,llr,ft", 5, 8) if not FULL else ("allr,clr,llr,ft,slr,linear,cosine,lrw", 13, 60)
    )
    grid = (f"schedule={schedules}", f"seed=range({seeds})")
    environment = cluster.environment | {"OMP_NUM_THREADS": "1"}
    settings = ("jobs=4", "partition=low", "timeout_min=1", "signal_delay_s=10", "wait=true")
    submission = command(tmp_path, *grid, SLURM, *(f"hydra.launcher.{s}" for s in settings), often=True)
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    (tmp_path / "alone").mkdir()
    alone = subprocess.Popen(command(tmp_path / "alone", *grid), **quiet)  # type: ignore[call-overload]
    submitter = subprocess.Popen(submission, **quiet)  # type: ignore[call-overload]
    wait_for(lambda: bool(cluster.run("squeue", "-h", "-p", "low", "-t", "R").strip()), 300)
    submitter.send_signal(signal.SIGKILL)
    submitter.wait()
    chaos = Chaos(cluster, seed=4)
    for strike in chaos.strikes(strikes):
        time.sleep(chaos.draw.uniform(1, 5))
        strike()
    submissions = 0
    while submissions < 4 and subprocess.run(submission, **quiet).returncode:  # type: ignore[call-overload]
        submissions += 1
    assert alone.wait() == 0
    sweep, reference = tmp_path / "sweep", tmp_path / "alone" / "sweep"
    runs = json.loads((sweep / "sweep.json").read_text())["runs"]
    assert len(runs) == seeds * (schedules.count(",") + 1)
    assert not list(sweep.glob("*/failed.json"))
    for run in runs:
        same(sweep / run, reference / run)
    keys = {phase["key"] for run in runs for phase in came_to(sweep / run)[0]["phases"]}
    assert {path.parent.name for path in (tmp_path / "phases").glob("*/done.pt")} == keys
    logs = "".join(path.read_text() for path in sweep.glob("slurm/**/*_log.out"))
    ended = re.findall(r"^(.*: (?:dense|cycle \d)) (\d+)/\2 loss", logs, re.MULTILINE)
    starts = sum(json.loads((sweep / run / "run.json").read_text())["starts"] for run in runs)
    asked = sum(phase["epochs"] for run in runs for phase in came_to(sweep / run)[0]["phases"])
    counts, signals = Counter(chaos.happened), logs.count("SLURM asks this job to make room")
    with capsys.disabled():
        print(
            f"\nSLURM chaos: {len(runs)} runs, started {starts} times; {', '.join(f'{n} {k}' for k, n in counts.items())}; "
            f"{signals} times a job made room when asked; {submissions} submissions more; {asked:g} epochs requested, "
            f"{len(keys)} phases distinct, {len(ended)} trained to their end"
        )
    assert len(ended) - len(keys) <= len(chaos.happened) + 1


@pytest.mark.skipif(not FULL, reason="BIMP_SLURM=full waits for a time limit, of which a minute is the shortest")
def test_a_run_longer_than_the_time_limit_continues(cluster: Cluster, tmp_path: Path) -> None:
    grid, before = ("seed=3", "budget.epochs=1500", "store.every=1"), {*cluster.jobs()}
    settings = (SLURM, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=30")
    assert launch(cluster, tmp_path / "slurm", *grid, *settings).returncode == 0
    (job,) = {*cluster.jobs()} - before
    alone = subprocess.Popen(
        command(tmp_path / "local", *grid), stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    wait_for(lambda: idle(cluster), 500)
    assert alone.wait() == 0
    assert int(re.findall(r"Restarts=(\d+) ", cluster.run("scontrol", "show", "job", job))[0]) >= 1
    assert cluster.jobs()[job] == "COMPLETED"
    (run,) = (path.parent for path in (tmp_path / "slurm" / "sweep").glob("*/result.json"))
    assert json.loads((run / "run.json").read_text())["starts"] >= 2
    same(run, tmp_path / "local" / "sweep" / run.name)


@pytest.mark.skipif(not FULL, reason="BIMP_SLURM=full installs a database for it")
def test_sacct_says_failed(tmp_path: Path) -> None:
    reason = install(accounting=True)
    if reason:
        pytest.skip(reason)
    with Cluster(folder=tmp_path / "cluster", accounting=True) as cluster:
        done = launch(cluster, tmp_path / "a", "lr.initial=0.1,1e30", SLURM, "hydra.launcher.wait=true")
        assert done.returncode == 2
        assert "1 of 2 runs failed" in done.stderr
        wait_for(lambda: "RUNNING" not in cluster.run("sacct", "-nPX", "-o", "State"))
        assert sorted(cluster.run("sacct", "-nPX", "-o", "State").split()) == ["COMPLETED", "FAILED"]


@pytest.mark.skipif(not FULL, reason="BIMP_SLURM=full submits 5,000 runs")
def test_five_thousand_runs_are_submitted_in_half_a_minute(cluster: Cluster, tmp_path: Path) -> None:
    number = 5000
    done = launch(cluster, tmp_path, SLURM, f"seed=range({number})", "hydra.launcher.partition=dry")
    assert f"{number} runs to do: 16 workers submitted, 0 there already" in done.stdout
    cluster.run("scancel", "--user=root")
