"""The process that mirrors: training does not wait for it, it dies with whom it serves, and nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bimp_exp.lease import Lease
from bimp_exp.report import refresh
from bimp_exp.tracking import background
from bimp_exp.tracking import mlflow as tracking
from bimp_exp.tracking.background import Backlog
from bimp_exp.tracking.mirror import Mirror
from bimp_exp.tracking.mlflow_runs import MAX_TAG
from tests.conftest import ROOT
from tests.report.fake import make_run, make_sweep
from tests.test_tracking import client, points
from tests.test_tracking_stress import named, wanted

PATIENCE = 600  # seconds, after which a test may fail that would hang


class Fake(Mirror):
    """Notes what is asked of it; folders in ``down`` cannot be mirrored."""

    def __init__(self) -> None:
        super().__init__(uri="http://127.0.0.1:9", experiment="e")
        self.asked: list[str] = []
        self.down: set[str] = set()

    def sync(self, run_dir: Path, *, lines: int | None = None) -> None:
        self.asked.append(run_dir.name)
        (self.behind.add if run_dir.name in self.down else self.behind.discard)(run_dir)

    def mirror_sweep(self, folder: Path, *, over: bool) -> None:
        self.asked.append(f"{folder.name} {over}")


def backlog(*messages: dict[str, object]) -> Backlog:
    made = Backlog(Fake())
    for message in messages:
        made.add(message)
    return made


def asked(made: Backlog) -> list[str]:
    assert isinstance(made.mirror, Fake)
    return made.mirror.asked


def test_runs_before_sweeps_and_each_once() -> None:
    over = [{"sweep": "/s", "over": value} for value in (False, True, False)]
    made = backlog(
        *over, {"run": "/s/a", "lines": 9}, {"run": "/s/b", "lines": 9}, {"run": "/s/a", "lines": 9}, {"end": True}
    )
    made.work()
    assert asked(made) == ["a", "b", "s True"]  # that it is over is not forgotten


def test_a_run_that_could_not_be_mirrored_comes_again_after_one_that_could(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "DELAY", 0.0)
    made = backlog({"run": "/a", "lines": 9}, {"run": "/b", "lines": 9})
    fake = made.mirror
    assert isinstance(fake, Fake)
    fake.down = {"a", "b"}
    worker = threading.Thread(target=made.work)
    worker.start()
    while len(fake.asked) < 2:
        time.sleep(0.01)
    fake.down = set()
    made.add({"run": "/c", "lines": 9})
    while len(fake.asked) < 5:
        time.sleep(0.01)
    made.add({"end": True})
    worker.join()
    assert (fake.asked[:3], sorted(fake.asked[3:])) == (["a", "b", "c"], ["a", "b"])


def test_after_the_end_a_store_that_does_not_answer_is_asked_once() -> None:
    made = backlog(*({"run": f"/{number}", "lines": 9} for number in range(50)), {"end": True})
    assert isinstance(made.mirror, Fake)
    made.mirror.down = {str(number) for number in range(50)}
    made.work()
    assert asked(made) == ["0"]


def test_the_summary_follows_the_runs_but_not_each(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"seed": 0}, {"test": 0.5}), ({"seed": 1}, {"status": "running"})])
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made = Backlog(Mirror(uri=uri, experiment="e"))
    for message in (
        {"run": str(sweep / "seed=0"), "lines": 9},
        {"run": str(sweep / "seed=1"), "lines": 9},
        {"end": True},
    ):
        made.add(message)
    made.work()
    assert "50.00" in (sweep / "summary.md").read_text()
    parent = named(made.mirror)["s"]
    assert parent.data.tags["mlflow.note.content"] == (sweep / "summary.md").read_text()
    assert parent.info.status == "RUNNING"
    artifacts = {artifact.path for artifact in client(made.mirror)[0].list_artifacts(parent.info.run_id)}
    assert artifacts == {"sweep.json", "summary.csv", "summary.html", "summary.md", "summary.png", "summary.tex"}
    before = (sweep / "summary.html").stat()
    for _ in range(3):
        made.work()
        made.add({"run": str(sweep / "seed=0"), "lines": 9})
    assert (sweep / "summary.html").stat() == before


def test_points_that_come_after_it_was_told_may_yet_be_undone(tmp_path: Path) -> None:
    """They wait for the next time, unless the run is finished."""
    folder = make_run(tmp_path / "r", status="running")
    mirror = Mirror(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="e")
    for told, steps in ((0, set()), (2, {10, 20})):  # a line is an epoch of 10 steps
        mirror.sync(folder, lines=told)
        assert {step for _, step, _ in points(mirror, named(mirror)["r"])} == steps
    done = make_run(tmp_path / "done")
    mirror.sync(done, lines=2)
    assert points(mirror, named(mirror)["done"]) == wanted(done)


def test_the_larger_the_sweep_the_seldomer(tmp_path: Path) -> None:
    runs = ", ".join(f'"{number}"' for number in range(1000))
    (tmp_path / "sweep.json").write_text(f'{{"name": "s", "command": "c", "swept": [], "runs": [{runs}]}}')

    def due(age: float) -> bool:
        (tmp_path / "summary.html").touch()
        os.utime(tmp_path / "summary.html", (time.time() - age,) * 2)
        return refresh.if_due(tmp_path)

    assert not due(50)  # of a hundred seconds
    assert due(1000)
    lease = Lease.take(tmp_path / "summary.lease")
    assert lease
    with lease:
        assert not due(1000)


def test_the_last_summary_waits_for_one_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)

    def sleep(seconds: float) -> None:
        looked.release()
        time.sleep(0.01)

    monkeypatch.setattr(refresh, "time", SimpleNamespace(time=time.time, sleep=sleep))
    sweep = make_sweep(tmp_path / "s", [({"seed": 0}, {})])
    lease = Lease.take(sweep / "summary.lease")
    assert lease
    last = threading.Thread(target=refresh.now, args=(sweep,))
    last.start()
    for _ in range(3):  # it has looked, and waits
        looked.acquire()
    assert not (sweep / "summary.md").exists()
    lease.release()
    last.join()
    assert (sweep / "summary.md").exists()
    assert not (sweep / "summary.lease").exists()


def test_a_long_summary_is_cut_at_a_line(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"seed": 0}, {"status": "absent"})])
    (sweep / "summary.md").write_text("| a row of the table |\n" * 1000)
    mirror = Mirror(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="e")
    mirror.sync_sweep(sweep, over=False)
    note = named(mirror)["s"].data.tags["mlflow.note.content"]
    table, rest = note.split("\n\n")
    assert set(table.split("\n")) == {"| a row of the table |"}
    assert "summary.html" in rest
    assert MAX_TAG - 100 < len(note) <= MAX_TAG


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def serving(helper: tracking.Helper) -> subprocess.Popen[bytes]:
    assert helper.process is not None
    return helper.process


def test_who_was_asked_to_end_does_not_wait(deaf: str, tmp_path: Path) -> None:
    helper = tracking.Helper(deaf, "e")
    helper.patience = 0.1
    helper.tell(make_run(tmp_path / "r"))
    process = serving(helper)
    helper.close()
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_died_is_replaced(tmp_path: Path) -> None:
    helper = tracking.Helper(f"sqlite:///{tmp_path}/mlflow.db", "e")
    helper.patience = PATIENCE
    folder = make_run(tmp_path / "r")
    helper.tell(folder)
    first = serving(helper)
    first.kill()
    first.wait()
    helper.tell(folder)
    assert serving(helper).pid != first.pid
    helper.close()
    mirror = Mirror(uri=helper.uri, experiment="e")
    assert points(mirror, named(mirror)["r"]) == wanted(folder)


TRAINING = """
import sys, time
from pathlib import Path
from bimp_exp.tracking.mlflow import MLflow
tracking = MLflow(uri=sys.argv[1], experiment="e")
tracking.sync(Path(sys.argv[2]))
print(tracking.helper.process.pid, flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("store", ["sqlite", "deaf"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_the_process_that_it_serves(store: str, number: signal.Signals, deaf: str, tmp_path: Path) -> None:
    uri = deaf if store == "deaf" else f"sqlite:///{tmp_path}/mlflow.db"
    folder = make_run(tmp_path / "r")
    command = [sys.executable, "-c", TRAINING, uri, str(folder)]
    training = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert training.stdout
    pid = int(training.stdout.readline())
    time.sleep(1.5)  # in the midst of it, or waiting for more
    training.send_signal(number)
    training.wait()
    while True:  # ends by itself, or this test does not
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    if store == "sqlite":
        mirror = Mirror(uri=uri, experiment="e")
        mirror.sync(folder)
        assert points(mirror, named(mirror)["r"]) == wanted(folder)


def test_a_fork_leaves_the_helper_to_its_parent(tmp_path: Path) -> None:
    helper = tracking.Helper(f"sqlite:///{tmp_path}/mlflow.db", "e")
    helper.tell(tmp_path, over=False)
    child = os.fork()
    if child == 0:
        helper.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert serving(helper).poll() is None
    serving(helper).kill()
    helper.close()


def test_the_process_needs_no_pytorch() -> None:
    code = "import sys, bimp_exp.tracking.background; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "False\n"
    assert background.NICE > 0
