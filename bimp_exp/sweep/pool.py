"""Several workers of a sweep side by side: processes of one machine that share its cores and its GPU.

Each has the cores divided by their number as its threads, unless OMP_NUM_THREADS says otherwise: that is what
``runtime.threads=null`` then means, and like any number of threads it is a fact in the name of a result computed on CPU. On a
GPU they go through an MPS daemon of their own (experimental), so that kernels of several processes run at once; where the
driver has none they take turns (https://docs.nvidia.com/deploy/mps).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bimp_exp import cores
from bimp_exp.paths import ROOT
from bimp_exp.sweep import worker

POLL = 0.2  # seconds
GRACE = 15.0  # seconds in which a process that is told to leave may say so on disk
# Runs an MPS daemon until our end of its standard input closes, however we end; signals to all processes do not end it before.
MPS_KEEPER = """
trap "" HUP INT TERM USR2
"$0" -d >&2 && echo up && cat >/dev/null
echo quit | timeout 20 "$0" >&2
rm -rf "$CUDA_MPS_PIPE_DIRECTORY"
"""
MPS_PROBE = (
    sys.executable,
    "-c",
    "import torch; torch.zeros(1, device='cuda')",
)  # a daemon that is up may still not serve


def work(folder: Path, number: int, *, first_phase_only: bool = False, allow: Collection[str] = ()) -> int:
    """Do what is left of the sweep in ``folder`` by ``number`` processes; how many of them ended without having done their part.

    A process that is killed is replaced while runs are left, ``number`` times in all. The processes end with this one.

    allow: modules that the runs may name beside bimp_exp's own.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores.usable(hyperthreads=False) // number))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-m", "bimp_exp.sweep.worker", "--in-pool", str(folder)]
    command += ["--first-phase-only"] if first_phase_only else []
    command += [f"--allow={module}" for module in allow]
    with sharing_gpu(environment) as (environment, how):
        _say(f"{number} processes, OMP_NUM_THREADS={threads}{how}")

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)

        processes, num_spare, num_lost = [start() for _ in range(number)], number, 0
        try:
            while processes:
                time.sleep(POLL)
                ended = [process for process in processes if process.poll() is not None]
                processes = [process for process in processes if process not in ended]
                for process in (process for process in ended if process.returncode):
                    if process.returncode < 0 and num_spare and worker.left(folder):
                        num_spare -= 1
                        processes.append(start())
                        _say(f"a process was ended by signal {-process.returncode}; another takes its place")
                    else:
                        num_lost += 1
        finally:
            _end(processes)
    return num_lost


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def sharing_gpu(environment: Mapping[str, str]) -> Iterator[tuple[dict[str, str], str]]:
    """The environment of the processes, and how they share a GPU, for people; "" where there is no driver."""
    control = shutil.which("nvidia-cuda-mps-control")
    if environment.get("CUDA_VISIBLE_DEVICES") == "" or not (control or shutil.which("nvidia-smi")):
        yield dict(environment), ""
    elif "CUDA_MPS_PIPE_DIRECTORY" in environment:
        yield dict(environment), "; the GPU through the MPS daemon of CUDA_MPS_PIPE_DIRECTORY"
    elif control is None:
        yield dict(environment), "; the GPU in turns (no nvidia-cuda-mps-control here)"
    else:
        folder = tempfile.mkdtemp(prefix="bimp_exp_mps_")
        served = {**environment, "CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        pipe = subprocess.PIPE
        with subprocess.Popen(["sh", "-c", MPS_KEEPER, control], env=served, stdin=pipe, stdout=pipe) as keeper:
            assert keeper.stdout is not None
            up = keeper.stdout.readline() == b"up\n"
            visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
            if all(device.isdecimal() for device in visible):  # the daemon numbers the devices that it sees from 0
                served["CUDA_VISIBLE_DEVICES"] = ",".join(str(i) for i in range(len(visible)))
            if up and subprocess.run(MPS_PROBE, env=served, capture_output=True).returncode == 0:
                yield served, "; the GPU through MPS"
                return
        yield dict(environment), "; the GPU in turns (nvidia-cuda-mps-control does not serve here)"


def _say(line: str) -> None:
    Console(soft_wrap=True, highlight=False).print(line, markup=False)
