"""The Slurm engine: jobs as tasks of job arrays, by submitit; a job that is pre-empted goes on from its checkpoint."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from isoloss.errors import IsolossError, MissingError, StudyError
from isoloss.execution.engine import GRACE, Asked, Ended, EngineOptions, Job, lost
from isoloss.execution.engines import engine
from isoloss.execution.slurm_job import RESULT, STOPPED, SlurmJob, write
from isoloss.execution.wire import pack_job, unpack_result
from isoloss.execution.worker import THREAD_VARIABLES, forget_checkpoint
from isoloss.runs import RunSpec

#: Seconds between looks at the queue.
LOOK = 5.0
#: Jobs in the queue at a time, where --workers is left out.
WORKERS = 64
#: Where a job's number in the queue is kept.
NUMBER = "number"


@engine("slurm")
class SlurmEngine:
    """One array task a job; what is submitted at a time is one array.

    Jobs and results are JSON files named by their runs, in a folder of mode 0700 that all nodes see: a driver that is
    started again finds the results of one that was killed, and takes over its jobs that are still in the queue. Jobs
    that are pre-empted or cancelled leave checkpoints in the cache folder, which all nodes should see too.
    """

    summary = "job arrays of Slurm, by submitit"

    class Options(EngineOptions):
        """What can be set."""

        partition: str | None = Field(None, description="as of sbatch")
        time: int = Field(60, ge=1, description="minutes a job; a longer run goes on in the next from its checkpoint")
        account: str | None = Field(None, description="as of sbatch")
        qos: str | None = Field(None, description="as of sbatch")
        constraint: str | None = Field(None, description="as of sbatch")
        mem_gb: float | None = Field(None, gt=0, description="memory a job; left out, the cluster's default")
        gpus: int = Field(0, ge=0, le=1, description="1 for a GPU a job")
        setup: str | None = Field(None, description="shell command before each job, such as 'module load cuda'")
        warn: int = Field(90, ge=1, description="seconds before the time limit at which a job leaves its checkpoint")
        cluster: str = Field("slurm", pattern="^(slurm|local)$", description="local: submitit's own, to try it out")

    @classmethod
    def open(cls, asked: Asked) -> SlurmEngine:
        """The engine. Raises `MissingError` without submitit or sbatch."""
        if find_spec("submitit") is None:
            raise MissingError("--engine slurm", "needs the package 'submitit'", "pip install 'isoloss[slurm]'")
        if asked.device.startswith("cuda:"):
            raise StudyError("--device", f"'{asked.device}': Slurm chooses the GPU of a job", "use cuda")
        import submitit

        if asked.options.cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise MissingError("--engine slurm", "there is no srun here", "start this on a login node of the cluster")
        return cls(asked)

    def __init__(self, asked: Asked) -> None:
        self._asked, self._options = asked, asked.options
        self._folder = (asked.folder / "slurm").absolute()
        self._plugins: tuple[str, ...] = ()
        self._executor: Any = None
        self._new: list[Job] = []
        self._running: dict[Path, Job] = {}
        self._local: dict[str, Any] = {}
        self._missing: set[Path] = set()
        self._done: list[str] = []
        self._notices: list[str] = []
        self._looked = 0.0

    @property
    def slots(self) -> int:
        """Jobs in the queue at a time: as many as asked for, else `WORKERS` (on this machine alone: one a core)."""
        return self._asked.workers or (WORKERS if self._options.cluster == "slurm" else os.cpu_count() or 1)

    def start(self, plugins: Sequence[Path]) -> None:
        """Make the folder. Raises `IsolossError` for one that others could write to."""
        if self._executor is not None:
            return
        import submitit

        own_folder(self._folder)
        (self._folder / "jobs").mkdir(exist_ok=True)
        self._plugins = tuple(str(path.absolute()) for path in plugins)
        for variable in THREAD_VARIABLES:  # sbatch hands the environment on
            os.environ[variable] = "1"
        options = self._options
        here = self._folder / "submitit"
        if options.cluster == "local":
            self._executor = submitit.LocalExecutor(here)
            self._executor.update_parameters(timeout_min=options.time, signal_delay_s=options.warn)
            return
        said = {key: getattr(options, key) for key in ("partition", "account", "qos", "constraint")}
        said |= {"gpus_per_node": options.gpus or None, "mem": options.mem_gb and f"{round(1024 * options.mem_gb)}MB"}
        said["setup"] = options.setup and [options.setup]
        self._executor = submitit.SlurmExecutor(here, max_num_timeout=10_000)
        self._executor.update_parameters(
            job_name="isoloss",
            time=options.time,
            cpus_per_task=1,
            signal_delay_s=options.warn,
            array_parallelism=self.slots,
            **{key: value for key, value in said.items() if value},
        )

    def submit(self, job: Job) -> None:
        """Keep a job for the array of the next `collect`; one that is done or in the queue already is taken over."""
        state = self._state(job)
        if (state / RESULT).exists() or _number(state) in self._queue([state]):
            self._notices.append(f"{job.specs[0].algorithm}: a job of an earlier driver is taken over")
            self._running[state] = job
        else:
            self._new.append(job)

    def collect(self, timeout: float) -> list[list[Ended]]:
        """Submit what is new as one array, then bring results; a job that left the queue without one comes back as
        lost, or is submitted again where it was told to stop."""
        if self._new:
            self._send()
        deadline = time.monotonic() + timeout
        while not (ended := self._results()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return ended

    def recorded(self, spec: RunSpec) -> None:
        """Remove the run's checkpoint and its job's files."""
        forget_checkpoint(spec.run_id)
        for state in (self._folder / "jobs").glob(f"*{spec.run_id}*"):
            shutil.rmtree(state, ignore_errors=True)

    def notices(self) -> list[str]:
        """Jobs that were taken over, and faults of the queue."""
        said, self._notices = self._notices, []
        return said

    def stop(self) -> None:
        """Cancel every job and wait for those that run to leave checkpoints, `GRACE` seconds at most."""
        if self._executor is None:
            return
        self._new.clear()
        left = {_number(state) for state in self._running} & self._queue(self._running)
        if left and self._options.cluster == "slurm":
            subprocess.run(["scancel", *sorted(left)], capture_output=True)
        elif left:
            for number in left:
                os.kill(int(number), signal.SIGINT)
        deadline = time.monotonic() + GRACE
        while self._leaving(left) and time.monotonic() < deadline:
            time.sleep(0.2)
        for number in self._done:  # submitit's own files and logs; those of failed jobs stay
            for file in (self._folder / "submitit").glob(f"{number}_*"):
                file.unlink(missing_ok=True)
        self._executor, self._running, self._local, self._done = None, {}, {}, []

    def _leaving(self, left: set[str]) -> bool:
        # all are asked, so that processes that ended are taken leave of
        here = [handle for handle in self._local.values() if not handle.done()]
        return bool(here) or bool(left & self._queue(self._running))

    def _state(self, job: Job) -> Path:
        first = job.specs[0].run_id
        if len(job.specs) == 1:
            return self._folder / "jobs" / first
        whole = hashlib.sha256("".join(spec.run_id for spec in job.specs).encode()).hexdigest()[:12]
        return self._folder / "jobs" / f"{first}-{len(job.specs)}-{whole}"

    def _send(self) -> None:
        works = []
        for job in self._new:
            state = self._state(job)
            state.mkdir(exist_ok=True)
            for name in (RESULT, STOPPED, NUMBER):
                (state / name).unlink(missing_ok=True)
            write(state / "job.json", pack_job(job))
            works.append(SlurmJob(str(state), self._plugins, self._asked.device))
        try:
            with _unheard() if self._options.cluster == "local" else nullcontext():
                sent = self._executor.submit_array(works)
        except Exception as error:  # sbatch's own words, in submitit's own exception
            said = " ".join(str(error).split())[-300:]
            raise IsolossError("sbatch", said, "check --engine-option") from None
        for job, handle in zip(self._new, sent, strict=True):
            state = self._state(job)
            write(state / NUMBER, handle.job_id)
            self._running[state] = job
            if self._options.cluster == "local":
                self._local[handle.job_id] = handle
        self._new = []

    def _results(self) -> list[list[Ended]]:
        ended = []
        for state, job in list(self._running.items()):
            if (state / RESULT).exists():
                ended.append(self._result(state, job))
        if ended or time.monotonic() - self._looked < (LOOK if self._options.cluster == "slurm" else 0.5):
            return ended
        self._looked = time.monotonic()
        queue = self._queue(self._running)
        gone = {state for state in self._running if _number(state) not in queue}
        for state in gone & self._missing:  # twice: a result may still be on its way through the file system
            job = self._running.pop(state)
            if (state / STOPPED).exists():
                self._new.append(job)
                continue
            log = self._folder / "submitit" / f"{_number(state)}_0_log.err"
            ended.append(lost(job, f"its Slurm job {_number(state)} left the queue without a result; see {log}"))
        self._missing = gone
        return ended

    def _result(self, state: Path, job: Job) -> list[Ended]:
        del self._running[state]
        self._missing.discard(state)
        try:
            back = unpack_result(job, (state / RESULT).read_text(), state / RESULT)
        except (IsolossError, OSError, UnicodeDecodeError) as error:
            (state / RESULT).unlink(missing_ok=True)
            return lost(job, str(error))
        if any(one.outcome.status == "failed" for one in back):  # to be tried again when the study is
            (state / RESULT).unlink()
        else:
            self._done.append(_number(state))
        return back

    def _queue(self, states: Iterable[Path]) -> set[str]:
        """Those numbers of jobs that are waiting or running."""
        numbers = {_number(state) for state in states} - {""}
        if not numbers:
            return set()
        if self._options.cluster == "local":
            return {number for number in numbers if self._runs_here(number)}
        command = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format=%i"]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode:  # who can't be asked has lost nothing
            self._notices.append(f"squeue: {' '.join(said.stderr.split())[:200]}")
            return numbers
        return numbers & set(said.stdout.split())

    def _runs_here(self, number: str) -> bool:
        if number in self._local:
            return not self._local[number].done()
        with suppress(OSError):  # of an earlier driver
            return b"submitit" in Path(f"/proc/{number}/cmdline").read_bytes()
        return False


def own_folder(folder: Path) -> None:
    """Make `folder` for this user alone. Raises `IsolossError` for one that somebody else owns or could write to: what
    submitit pickles lies in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise IsolossError(folder, f"can't be made ({error.strerror})", "see --out") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise IsolossError(folder, "is not this user's alone", f"remove it, or chmod 700 {folder}")
    folder.chmod(0o700)


def _number(state: Path) -> str:
    try:
        return (state / NUMBER).read_text()
    except OSError:  # never submitted
        return ""


@contextmanager
def _unheard() -> Iterator[None]:
    """Processes that start within it have no standard error: of a local job's, to which all that Ctrl-C brings is a
    traceback of submitit's own. What the job itself says goes to its log."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
