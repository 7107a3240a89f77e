"""Where drivers run a study and are struck: what was recorded, what was lost, what was trained twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from isoloss import api
from isoloss.ledger import schema
from isoloss.ledger.store import Ledger

HERE = Path(__file__).parent
STUDY = """
name = "faults"
question = "Is anything lost or doubled?"
plugins = ["walk.py"]
[task]
name = "faults/none"
[ladder]
resource = "train_flops"
rungs = [1e9, 3e9, 1e10, 3e10]
[tuning]
seeds = 2
widen = false
[report]
seeds = {seeds}
[[comparisons]]
baseline = "old"
candidate = "new"
[arms.old]
algorithm = "faults/walk"
sweep = {{ lr = {{ centre = 0.1, factor = 2, points = 5 }} }}
[arms.new]
algorithm = "faults/walk"
settings = {{ gain = 2.0 }}
sweep = {{ lr = {{ centre = 0.1, factor = 2, points = 5 }} }}
"""
#: Kills something; names it, or None where it was not there to be killed.
Strike = Callable[["Arena", random.Random], "str | None"]
#: No driver and no worker needs more than this to do something that can be seen.
PATIENCE = 400.0
DRIVERS = 2


@dataclass
class Tally:
    """What was done in all, printed at the end."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    again: int = 0
    seeds: list[int] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As built-in types."""
        return {**vars(self), "kills": dict(self.kills)}

    def add(self, other: Mapping[str, Any]) -> None:
        """Count what another process did, as `plain` tells it."""
        for name, value in other.items():
            if name == "kills":
                self.kills.update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def line(self) -> str:
        """One line of figures."""
        by = ", ".join(f"{n} of {kind}" for kind, n in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({by}): {self.runs} runs recorded, {self.lost} lost, {self.doubled} doubled, "
            f"{self.again} begun again because they were cut short; {self.studies} studies ended, each with the "
            "undisturbed one's table"
        )


TALLY = Tally()
#: Study file -> table and start-up time: once a session.
_UNDISTURBED: dict[str, tuple[str, float]] = {}


class Arena:
    """A study run by `DRIVERS` command lines at once on ledgers by `new_ledger(folder)`; `seeds` is its size."""

    def __init__(
        self,
        folder: Path,
        new_ledger: Callable[[Path], str],
        seeds: int = 4,
        words: tuple[str, ...] = ("--workers", "1"),
    ) -> None:
        self._folder, self._new_ledger, self.words = folder, new_ledger, words
        folder.mkdir(parents=True, exist_ok=True)
        self.study = folder / "faults.toml"
        self.study.write_text(STUDY.format(seeds=seeds))
        shutil.copy(HERE / "walk.py", folder / "walk.py")
        self.drivers: list[subprocess.Popen[bytes]] = []
        self._count = 0
        self.begin()

    # -- a study from nothing to its end ----------------------------------------------------------------------

    def begin(self) -> None:
        """A new ledger, and nothing known of it."""
        self.place = self._folder / f"study-{self._count}"
        self.place.mkdir()
        self._count += 1
        self.url = self._new_ledger(self.place)
        self.log = self._folder / "log"
        self.log.write_text("")
        self.held: dict[str, str] = {}
        self._mark = 0

    def drive(self) -> subprocess.Popen[bytes]:
        """One more driver: the real command line, in a machine that has no PyTorch."""
        words = ["run", str(self.study), "--ledger", self.url, "--out", str(self.place / "reports"), *self.words]
        said = (self.place / f"said-{time.monotonic_ns()}").open("wb")
        command = [sys.executable, "-m", "isoloss", *words]
        with said:
            driver = subprocess.Popen(
                command, env=self.surroundings(), stdout=said, stderr=said, start_new_session=True
            )
        driver.said = Path(said.name)  # type: ignore[attr-defined]
        return driver

    def surroundings(self) -> dict[str, str]:
        """The environment of drivers: a machine without PyTorch, whose workers start in a moment."""
        blocked = self._folder / "no-torch"
        blocked.mkdir(exist_ok=True)
        (blocked / "torch.py").write_text("raise ModuleNotFoundError('blocked', name='torch')\n")
        paths = os.pathsep.join([str(blocked), *filter(None, [os.environ.get("PYTHONPATH")])])
        own = {"FAULTS_LOG": str(self._folder / "log"), "ISOLOSS_CACHE": str(self._folder / "cache")}
        return os.environ | own | {"PYTHONPATH": paths}

    @property
    def expected(self) -> str:
        """The table of the undisturbed study, which all others must equal."""
        return self._undisturbed()[0]

    @property
    def start_up(self) -> float:
        """Seconds from a command to its first run, on this machine as busy as it was: the measure of strikes."""
        return self._undisturbed()[1]

    def _undisturbed(self) -> tuple[str, float]:
        asked = self.study.read_text()
        if asked not in _UNDISTURBED:
            whole = Arena(self._folder / "whole", lambda place: str(place / "ledger.sqlite"))
            whole.study.write_text(asked)
            began, driver = time.monotonic(), whole.drive()
            while not whole.log.stat().st_size and driver.poll() is None:
                time.sleep(0.02)
            start_up = time.monotonic() - began
            assert driver.wait(PATIENCE) == 0, driver.said.read_text()
            _UNDISTURBED[asked] = whole.table(), start_up
        return _UNDISTURBED[asked]

    def table(self) -> str:
        """The study's reproducible run table, as bytes would be written."""
        ledger = Ledger(self.url)
        try:
            return ledger.table(api.open_study(self.study).study).reproducible().write_csv()
        finally:
            ledger.close()

    # -- what must hold at every moment -----------------------------------------------------------------------

    def records(self) -> dict[str, str]:
        """run id -> digest of every run that has a result."""
        r = schema.runs
        ended = select(r.c.run_id, r.c.digest).where(r.c.status.in_(("finished", "diverged", "dropped")))
        ledger = Ledger(self.url)
        try:
            return dict(ledger.database.read(lambda db: [tuple(row) for row in db.execute(ended)]))
        finally:
            ledger.close()

    def look(self) -> None:
        """Compare with the last look: what was recorded then is there, unchanged, and was not begun again."""
        before, self.held = self.held, self.records()
        lost = [i for i, digest in before.items() if self.held.get(i) != digest]
        lines = self.log.read_text().splitlines()
        begun = [line.split()[1] for line in lines[self._mark :] if line.startswith("start ")]
        doubled = [i for i in begun if i in before]
        self._mark = len(lines)
        TALLY.lost += len(lost)
        TALLY.doubled += len(doubled)
        assert not lost, f"recorded and lost: {lost}"
        assert not doubled, f"recorded and trained again: {doubled}"

    def ended(self) -> None:
        """All drivers are through: the table is the undisturbed one."""
        self.look()
        table = self.table()
        assert table == self.expected, "the table differs from the undisturbed one"
        starts = [line for line in self.log.read_text().splitlines() if line.startswith("start ")]
        TALLY.studies += 1
        TALLY.runs += len(self.held)
        TALLY.again += len(starts) - len(self.held)

    # -- strikes ----------------------------------------------------------------------------------------------

    def storm(self, kills: int, seed: int, strike: Strike) -> None:
        """`kills` strikes at random moments, and a new study whenever one came to its end between them."""
        TALLY.seeds.append(seed)
        rng, done = random.Random(seed), 0
        try:
            while done < kills:
                self.keep_driving()
                time.sleep(rng.uniform(0.0, 0.5 * self.start_up))
                struck = strike(self, rng)
                if struck is not None:
                    TALLY.kills[struck] += 1
                    done += 1
                    if done % 10 == 0:
                        print(
                            f"{done} of {kills} kills, {len(self.held)} runs recorded in study {self._count}",
                            flush=True,
                        )
                self.look()
            self.finish()
        finally:
            self.stop()

    def keep_driving(self) -> None:
        """As many drivers as there should be; where all came to the end by themselves, check that and begin anew."""
        for driver in [d for d in self.drivers if d.poll() is not None]:
            self.drivers.remove(driver)
            self.through(driver)
        if not self.drivers and self.table() == self.expected:
            self.ended()
            self.begin()
        while len(self.drivers) < DRIVERS:
            self.drivers.append(self.drive())

    def through(self, driver: subprocess.Popen[bytes]) -> None:
        """It ended by itself, was killed, or came while the database server was away and said so; no other way."""
        said = driver.said.read_text()  # type: ignore[attr-defined]
        refused = driver.returncode == 2 and "can't be reached" in said
        assert driver.returncode in (0, 1, -signal.SIGKILL) or refused, said
        assert "Traceback" not in said, said

    def finish(self) -> None:
        """Let the last study come to its end."""
        for _ in range(3):  # a run whose worker was killed thrice has failed, and is tried again by the next command
            for driver in self.drivers:
                driver.wait(PATIENCE)
                self.through(driver)
            if self.table() == self.expected:
                break
            self.drivers = [self.drive()]
        self.ended()

    def stop(self) -> None:
        """End what still runs."""
        for driver in self.drivers:
            driver.kill()
            driver.wait(10)


def kill_driver(arena: Arena, rng: random.Random) -> str | None:
    """kill -9 of one command line, with whatever it is doing."""
    driver = rng.choice(arena.drivers)
    if driver.poll() is not None:
        return None
    driver.kill()
    driver.wait(10)
    return "driver"


def kill_worker(arena: Arena, rng: random.Random) -> str | None:
    """kill -9 of one worker process, loading or training."""
    deadline = time.monotonic() + 3 * arena.start_up
    while not (found := [pid for driver in arena.drivers for pid in workers(driver.pid)]):
        if time.monotonic() > deadline or all(driver.poll() is not None for driver in arena.drivers):
            return None
        time.sleep(0.02)
    time.sleep(rng.uniform(0.0, 0.3))
    try:
        os.kill(rng.choice(found), signal.SIGKILL)
    except ProcessLookupError:
        return None
    return "worker"


def workers(driver: int) -> list[int]:
    """Process ids of a driver's workers."""
    asked = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(driver)]
    lines = subprocess.run(asked, capture_output=True, text=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if "spawn_main" in line]


def either(weights: dict[Strike, int]) -> Strike:
    """One of several strikes, by lot; a driver takes long to start, so others should be struck more often."""
    return lambda arena, rng: rng.choices(list(weights), list(weights.values()))[0](arena, rng)
