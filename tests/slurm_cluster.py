"""A real SLURM cluster on this machine, for tests: munge, a controller, virtual nodes with fake GPUs, all below one folder.

It needs root and Debian's packages, which ``install`` fetches; only tests with the marker "system" call it. Nothing in /etc is
read or written, ports are free ones, and ``stop`` ends what was started here and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
ACCOUNTING = ("slurmdbd", "mariadb-server")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def install(*, accounting: bool = False) -> str | None:
    """Install the packages that are missing; None, or the reason why there can be no cluster here."""
    if os.geteuid() != 0:
        return "a SLURM cluster for tests needs root"
    programs = ["slurmctld", "slurmd", "sbatch", "munged", *(["slurmdbd", "mariadbd"] if accounting else [])]
    with (Path(tempfile.gettempdir()) / "bimp_exp_apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes
        if all(shutil.which(program, path=PATH) for program in programs):
            return None
        if shutil.which("apt-get") is None:
            return f"no {', '.join(programs)} here, and no apt-get"
        packages = [*PACKAGES, *(ACCOUNTING if accounting else ())]
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            get = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *command]
            done = subprocess.run(get, capture_output=True, text=True)
        return None if done.returncode == 0 else f"apt-get install {' '.join(packages)}: {done.stderr.strip()[-200:]}"


@dataclass(kw_only=True)
class Cluster:
    """``with Cluster(folder=...) as cluster:`` runs it; ``environment`` is what its clients need."""

    folder: Path
    nodes: int = 3
    cpus: int = 2
    gpus: int = 2
    max_array: int = 1001
    accounting: bool = False
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes that submit and ask."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        return ours | {"PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, *command: str) -> str:
        """The output of a client command; CalledProcessError where it fails."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=300
        ).stdout

    def jobs(self) -> dict[str, str]:
        """State of every job and array task that the controller remembers, by its id."""
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-o", "%i %T").split("\n")
        return dict(line.split() for line in lines if line)

    def kill_node(self, name: str) -> None:
        """As if its power went: its daemon, its steps and their processes."""
        self._daemons.pop(name).kill()
        for pid in self._job_processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_node(self, name: str) -> None:
        """For the first time or again."""
        self._daemon(name, "slurmd", "-D", "-N", name)

    def stop(self) -> None:
        """End all that was started here."""
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        for pid in self._job_processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _job_processes(self, node: str | None = None) -> list[int]:
        """Processes of jobs, and the slurmstepd above them, on one node or on all; found by their environment."""
        ours, there = f"SLURM_CONF={self.folder / 'slurm.conf'}", f"SLURMD_NODENAME={node or ''}"
        found = set[int]()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                variables = (process / "environ").read_text(errors="replace").split("\0")
                if ours in variables and any(v == there if node else v.startswith(there) for v in variables):
                    found.add(int(process.name))
                    parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                    if Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd"):
                        found.add(parent)
        return sorted(found - {os.getpid()})

    def _start(self) -> None:
        for name in ("log", "state", "munge", "db"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        with ExitStack() as stack:
            ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(self.nodes + 3)]
            numbers = iter([int(port.getsockname()[1]) for port in ports])
        self._daemon(
            "munged", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self._socket}",
            f"--pid-file={self.folder}/munge/pid", f"--log-file={self.folder}/log/munge", f"--seed-file={self.folder}/munge/seed",
        )  # fmt: skip
        wait_for(lambda: self._ok("munge", "-S", str(self._socket), "-n"))
        (self.folder / "slurm.conf").write_text("\n".join(self._configuration(numbers)) + "\n")
        (self.folder / "gres.conf").write_text("\n".join(self._fake_gpus()) + "\n")
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        if self.accounting:
            self._start_accounting()
        self._daemon("slurmctld", "slurmctld", "-D")
        wait_for(lambda: self._ok("scontrol", "ping"))
        for i in range(self.nodes):
            self.start_node(f"n{i + 1}")
        wait_for(lambda: self.run("sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N").count("n") == self.nodes)

    @property
    def _socket(self) -> Path:
        return self.folder / "munge" / "socket"

    def _daemon(self, name: str, *command: str) -> None:
        (self.folder / f"spool.{name}").mkdir(exist_ok=True)
        with open(self.folder / "log" / f"{name}.out", "ab") as out:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def _ok(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=30).returncode == 0

    def _configuration(self, ports: Iterator[int]) -> list[str]:
        """slurm.conf: short times, preemption of the partition low by main, and a partition that starts nothing."""
        here, host = self.folder, socket.gethostname().split(".")[0]
        accounting = ["AccountingStorageType=accounting_storage/none"]
        self._database_ports = (next(ports), next(ports))
        if self.accounting:
            accounting = [
                "AccountingStorageType=accounting_storage/slurmdbd", "AccountingStorageHost=127.0.0.1",
                f"AccountingStoragePort={self._database_ports[0]}", f"AccountingStoragePass={self._socket}",
            ]  # fmt: skip
        return [
            "ClusterName=test", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmctldPort={next(ports)}",
            "AuthType=auth/munge", f"AuthInfo=socket={self._socket},cred_expire=5",  # s; a requeued job waits so long
            "SlurmUser=root", "SlurmdUser=root",
            f"StateSaveLocation={here}/state", f"SlurmdSpoolDir={here}/spool.%n",
            f"SlurmctldLogFile={here}/log/slurmctld", f"SlurmdLogFile={here}/log/slurmd.%n",
            f"SlurmctldPidFile={here}/slurmctld.pid", f"SlurmdPidFile={here}/slurmd.%n.pid",
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "MpiDefault=none",
            "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory",
            "DefMemPerCPU=500",  # else a job takes a whole node's memory
            "SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1,sched_min_interval=100000",
            "SlurmdParameters=config_overrides",  # nodes may have more CPUs than this machine
            "JobRequeue=1", "ReturnToService=2", "SlurmdTimeout=6", "KillWait=3", "MinJobAge=3600", "InactiveLimit=0",
            f"MaxArraySize={self.max_array}", "MaxJobCount=20000", "GresTypes=gpu",
            "PreemptType=preempt/partition_prio", "PreemptMode=REQUEUE", "SlurmctldParameters=preempt_send_user_signal",
            *accounting,
            *(
                f"NodeName=n{i + 1} NodeHostname=n{i + 1} NodeAddr=127.0.0.1 Port={next(ports)} CPUs={self.cpus} "
                f"RealMemory=8000 Gres=gpu:{self.gpus} State=UNKNOWN"
                for i in range(self.nodes)
            ),
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF",
            "PartitionName=low Nodes=ALL MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=5",
            "PartitionName=dry Nodes=ALL MaxTime=INFINITE State=DOWN",
        ]  # fmt: skip

    def _fake_gpus(self) -> list[str]:
        """gres.conf: GPUs are second names of /dev/null, or only counted where no device can be made."""
        made = [self.folder / f"gpu{i}" for i in range(self.gpus)]
        try:
            for path in made:
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            how = f"File={self.folder}/gpu[0-{self.gpus - 1}]"
        except OSError:
            how = f"Count={self.gpus}"
        return [f"NodeName=n{i + 1} Name=gpu {how}" for i in range(self.nodes)]

    def _start_accounting(self) -> None:
        store, log = self.folder / "db", self.folder / "log"
        port_of_slurmdbd, port_of_database = self._database_ports
        own = ["--no-defaults", "--user=root", f"--datadir={store}"]
        subprocess.run(
            ["mariadb-install-db", *own, "--skip-test-db", "--auth-root-authentication-method=normal"],
            env=self.environment, check=True, capture_output=True,
        )  # fmt: skip
        self._daemon(
            "mariadbd", "mariadbd", *own, f"--socket={store}/socket", f"--pid-file={store}/pid", "--bind-address=127.0.0.1",
            f"--port={port_of_database}", "--skip-name-resolve", "--innodb-buffer-pool-size=64M",
            "--innodb-lock-wait-timeout=900",
        )  # fmt: skip
        root = ["mariadb", "--no-defaults", f"--socket={store}/socket", "--user=root"]
        wait_for(lambda: self._ok(*root, "--execute=SELECT 1"))
        user = "'slurm'@'127.0.0.1'"
        allow = f"CREATE USER {user} IDENTIFIED BY 'local'; GRANT ALL ON slurm_acct_db.* TO {user}"
        self.run(*root, f"--execute=CREATE DATABASE slurm_acct_db; {allow}")
        configuration = self.folder / "slurmdbd.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self._socket}\nDbdHost={socket.gethostname().split('.')[0]}\n"
            f"DbdAddr=127.0.0.1\nDbdPort={port_of_slurmdbd}\nSlurmUser=root\nLogFile={log}/slurmdbd\n"
            f"PidFile={self.folder}/slurmdbd.pid\nStorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\n"
            f"StoragePort={port_of_database}\nStorageUser=slurm\nStoragePass=local\nStorageLoc=slurm_acct_db\n"
        )
        self._daemon("slurmdbd", "slurmdbd", "-D")
        wait_for(lambda: self._ok("sacctmgr", "-n", "list", "cluster"))
        self.run("sacctmgr", "-i", "add", "cluster", "test")


def wait_for(done: Callable[[], bool], seconds: float = 300) -> None:
    """Until ``done``; TimeoutError after ``seconds``."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)
