"""The Ray engine: each job a Ray task. Ray places tasks, and tries those of a node that died again elsewhere."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from isoloss.errors import IsolossError, MissingError, StudyError
from isoloss.execution.engine import GRACE, Asked, Ended, EngineOptions, Job, lost
from isoloss.execution.engines import engine
from isoloss.execution.signals import handlers_kept
from isoloss.execution.wire import (
    load_plugins,
    pack_job,
    pack_plugins,
    pack_result,
    source_digest,
    unpack_job,
    unpack_result,
)
from isoloss.execution.worker import THREAD_VARIABLES, carry_out, context, forget_checkpoint, told_by, use_one_thread
from isoloss.runs import RunSpec, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds between looks at how large the cluster is.
LOOK = 2.0
#: Seconds that an address has to answer.
CONNECT = 5.0
#: What Ray does on its own for a task whose worker or node died, before the driver hears of it.
RETRIES = 2


@engine("ray")
class RayEngine:
    """Tasks of one CPU each, or of a share of a GPU, on a Ray cluster that is there or on one started here.

    Jobs and results travel as JSON, plug-in files by content. Every node needs the same isoloss as the driver's, which
    is checked. The cluster may grow and shrink while a study runs.
    """

    summary = "Ray tasks, on a cluster that is there or on one started here"

    class Options(EngineOptions):
        """What can be set."""

        address: str | None = Field(
            None, description="cluster: auto, HOST:PORT or ray://HOST:PORT; else $RAY_ADDRESS, else one started here"
        )
        per_gpu: int = Field(1, ge=1, description="tasks a GPU")
        cache: str | None = Field(None, description="cache folder on the nodes; else their $ISOLOSS_CACHE")

    @classmethod
    def open(cls, asked: Asked) -> RayEngine:
        """The engine, not connected. Raises `MissingError` without the package."""
        if find_spec("ray") is None:
            raise MissingError("--engine ray", "needs the package 'ray'", "pip install 'isoloss[ray]'")
        if asked.device.startswith("cuda:"):
            raise StudyError("--device", f"'{asked.device}': Ray chooses the GPU of a task", "use cuda")
        return cls(asked)

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._task: Any = None
        self._running: dict[Any, Job] = {}
        self._left: dict[str, str] = {}
        self._notices: list[str] = []
        self._on_gpu = False
        self._room, self._largest, self._looked = 0, 0.0, -LOOK

    @property
    def slots(self) -> int:
        """As many as asked for, else what the cluster has room for now."""
        if self._task is not None and time.monotonic() - self._looked >= LOOK:
            self._look()
        return self._asked.workers or max(1, self._room)

    def _look(self) -> None:
        import ray

        self._looked = time.monotonic()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share, of = (self._asked.options.per_gpu, "GPU") if self._on_gpu else (1, "CPU")
        room = int(sum(node.get(of, 0) for node in nodes) * share)
        if self._room not in (0, room):
            self._notices.append(f"Ray: {len(nodes)} nodes with room for {room} runs now ({self._room} before)")
        self._room = room
        self._largest = max((node.get("memory", 0.0) for node in nodes), default=0.0)

    def start(self, plugins: Sequence[Path]) -> None:
        """Join the cluster, or start one. Raises `IsolossError` where there is none at the address."""
        if self._task is not None:
            return
        with _quiet():
            import ray

        address = self._asked.options.address or os.environ.get("RAY_ADDRESS") or "local"
        _check_there(address)
        variables = dict.fromkeys(THREAD_VARIABLES, "1")
        if self._asked.options.cache:
            variables["ISOLOSS_CACHE"] = self._asked.options.cache
        elif address == "local":
            variables["ISOLOSS_CACHE"] = str(context().cache)
        seconds = os.environ.get("ISOLOSS_CHECKPOINT_SECONDS")
        if seconds:
            variables["ISOLOSS_CHECKPOINT_SECONDS"] = seconds
        here: dict[str, Any] = {}
        if address == "local":  # results are small
            here = {"num_cpus": self._asked.workers, "include_dashboard": False, "object_store_memory": 100_000_000}
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with _quiet(), handlers_kept():
            try:
                ray.init(
                    address,
                    runtime_env={"env_vars": variables},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **here,
                )
            except (ConnectionError, ValueError, RuntimeError, ImportError) as error:
                said = " ".join(str(error).split())[:200]
                raise IsolossError(
                    f"Ray at {address}", said, "start it (ray start --head), or leave address out"
                ) from None
        # its messages about nodes go to standard output, where results are, and there is no public switch for them
        ray._private.worker._worker_logs_enabled = False
        gpus = ray.cluster_resources().get("GPU", 0)
        if self._asked.device == "cuda" and not gpus and self._asked.workers is None:
            raise StudyError("--device cuda", f"the Ray cluster at {address} has no GPU", "use auto or cpu")
        self._on_gpu = self._asked.device == "cuda" or (self._asked.device == "auto" and gpus > 0)
        self._task = ray.remote(_carry_out)
        self._plugins = ray.put(pack_plugins(tuple(plugins)))

    def submit(self, job: Job) -> None:
        """Hand a job to Ray."""
        needs: dict[str, Any] = {"num_gpus": 1 / self._asked.options.per_gpu} if self._on_gpu else {"num_cpus": 1}
        if job.peak_bytes is not None:  # no more than the largest node has: there it runs alone
            needs["memory"] = int(min(job.peak_bytes, self._largest))
        task = self._task.options(max_retries=RETRIES, **needs)
        device = "cuda" if self._on_gpu else "cpu"
        self._running[task.remote(pack_job(job), self._plugins, device, source_digest())] = job

    def collect(self, timeout: float) -> list[list[Ended]]:
        """Runs that ended; those whose task died too often come back as lost."""
        if not self._running:
            time.sleep(timeout)
            return []
        import ray

        waiting = list(self._running)
        done, rest = ray.wait(waiting, num_returns=1, timeout=timeout)
        if rest and done:
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [self._result(reference, self._running.pop(reference)) for reference in done]

    def recorded(self, spec: RunSpec) -> None:
        """Remove the run's checkpoint from the node that it was on."""
        node = self._left.pop(spec.run_id, None)
        if node is not None:
            import ray
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            there = NodeAffinitySchedulingStrategy(node, soft=False)
            ray.remote(forget_checkpoint).options(num_cpus=0, scheduling_strategy=there).remote(spec.run_id)

    def notices(self) -> list[str]:
        """How the cluster changed."""
        said, self._notices = self._notices, []
        return said

    def stop(self) -> None:
        """Cancel what runs, wait `GRACE` seconds at most for checkpoints, and leave the cluster or end it."""
        if self._task is None:
            return
        import ray

        with _quiet():
            for reference in self._running:
                ray.cancel(reference)
            if self._running:
                ray.wait(list(self._running), num_returns=len(self._running), timeout=GRACE)
            ray.shutdown()
        self._task, self._running = None, {}

    def _result(self, reference: Any, job: Job) -> list[Ended]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            text, node, left = ray.get(reference)
        except RayTaskError as error:  # the job itself raises nothing: the node can't do it
            said = str(error).strip().splitlines()[-1].rpartition("Error: ")[2]
            remedy = "install the same isoloss[lab] on every node, with the driver's Python"
            raise IsolossError("Ray", f"a node can't carry out a run ({said[:300]})", remedy) from None
        except RayError as error:
            said = " ".join(str(error).split())[:200]
            return lost(job, f"its Ray worker or node died {RETRIES + 1} times ({said})")
        if left:
            self._left |= {spec.run_id: node for spec in job.specs}
        return unpack_result(job, text, "Ray")


def _check_there(address: str) -> None:
    """Raise `IsolossError` where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # auto, local
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, ValueError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise IsolossError(
            f"Ray at {address}", f"nobody answers ({said})", "start it (ray start --head), or leave address out"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    # Ray warns of its own future, on which nobody can act here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _carry_out(packed: str, plugins: tuple[tuple[str, bytes], ...], device: str, digest: str) -> tuple[str, str, bool]:
    """The task: a job's result, the node's id, and whether a checkpoint is left there."""
    import ray

    if digest != source_digest():
        raise RuntimeError(f"{os.uname().nodename} has another isoloss than the driver")
    use_one_thread()
    os.environ["ISOLOSS_DEVICE"] = device
    here = context()
    load_plugins(plugins, (here.cache or Path()) / "plugins")
    job = unpack_job(packed)
    with told_by(signal.SIGINT):  # what a cancelled task is sent
        try:
            outcomes, environment = carry_out(job)
        except Stopped:
            raise KeyboardInterrupt from None
    paths = [here.checkpoint(spec.run_id) for spec in job.specs]
    left = any(path is not None and any(path.parent.glob(f"{path.stem}.*")) for path in paths)
    return pack_result(job, outcomes, environment), ray.get_runtime_context().get_node_id(), left
