"""A Slurm cluster of one node on this machine, from Debian's packages, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEEDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")

CONF = """
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=10
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=4 Sockets=4 CoresPerSocket=1 ThreadsPerCore=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why there can be no cluster here; empty where there can."""
    missing = [name for name in NEEDS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "slurmd is started as root, which this is not"


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A running cluster of four processors; gives the environment that its commands need. Raises `RuntimeError` with
    the end of its logs where the node does not come up."""
    folder.mkdir(parents=True)
    for part in ("state", "spool"):
        (folder / part).mkdir()
    for parent in (folder, *folder.parents):  # munged goes through them
        with suppress(OSError):
            parent.chmod(parent.stat().st_mode | 0o055)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, ports=ports, host=socket.gethostname().split(".")[0]))
    path = f"{os.environ['PATH']}:/usr/sbin"
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    munge = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "key-file", "log-file", "pid-file")]
    munge.append(f"--seed-file={folder}/munge.seed")
    daemons = [
        ["munged", "--foreground", "--force", "--num-threads=2", *munge],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", "localhost"],
    ]
    started = []
    try:
        for command in daemons:
            started.append(subprocess.Popen(command, env=environment, start_new_session=True, **quiet))
            time.sleep(1)
        deadline = time.monotonic() + 60
        while "idle" not in _said(environment, "sinfo", "--noheader", "--format=%T"):
            if time.monotonic() > deadline:
                logs = [(folder / name).read_text()[-400:] for name in ("slurmctld.log", "slurmd.log")]
                raise RuntimeError(f"Slurm's node did not come up: {' | '.join(logs)}")
            time.sleep(0.3)
        yield environment
    finally:
        with suppress(subprocess.SubprocessError):
            subprocess.run(["scancel", "--user=root", "--signal=KILL"], env=environment, timeout=10, **quiet)
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.send_signal(signal.SIGKILL) if process.poll() is None else None


def _said(environment: dict[str, str], *command: str) -> str:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout
