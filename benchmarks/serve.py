"""How long viewers of `isoloss serve` wait: 200 at once on a ledger of 100,000 runs.

    python benchmarks/serve.py [--viewers 200] [--runs 100000] [--seconds 30]

Writes a ledger of one study, serves it as a process of its own, and looks at it from another with as many connections
as viewers. A viewer, who arrives within 10 s, opens a page (queue, study, report or atlas) and lets it poll as the
page's script does, every 2 s with the tag that it has; after 2 to 8 polls it opens another page. Meanwhile a writer
ends 50 runs a second, so that tags change. Times are from sending a request to having read its whole body. Bar: 95% of
answers within 300 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from isoloss.ledger import schema
from isoloss.ledger.store import Ledger
from isoloss.study import parse_study

STUDY = """
name = "viewed"
question = "How long do viewers wait?"
[task]
name = "geometry/rotated-digits"
[ladder]
resource = "labels"
rungs = [32, 72, 160, 360, 800]
step_rule = { kind = "constant", value = 60 }
[report]
seeds = 2
[[comparisons]]
baseline = "plain"
candidate = "turned"
[arms.plain]
algorithm = "geometry/cnn"
[arms.turned]
algorithm = "geometry/cnn-augmented"
"""


QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
STATES = {True: "queued", False: "finished"}


def fill(path: Path, runs: int) -> str:
    """A ledger of one study with `runs` runs, nine tenths of them ended; the study's id."""
    store, study = Ledger(str(path)), parse_study(STUDY, "viewed")
    store.open_study(study, STUDY, "viewed.toml")
    rungs, arms = study.ladder.rungs, list(study.arms)
    blank = {
        "spec": "{}",
        "price": 1e6,
        "attempts": 1,
        "ended": 1.0,
        "qualities": "{}",
        "resources": "{}",
        "seconds": "{}",
    }
    place = {"study_id": study.study_id, "round": 0, "purpose": "tune", "price": 1e6}

    def work(db: Any) -> None:
        for first in range(0, runs, 10_000):
            states = [(k, f"{k:020d}", STATES[k % 10 == 0]) for k in range(first, min(first + 10_000, runs))]
            db.execute(insert(schema.runs), [{**blank, "run_id": i, "status": s} for _, i, s in states])
            db.execute(
                insert(schema.members),
                [
                    {**place, "run_id": i, "status": s, "arm": arms[k % 2], "rung": rungs[k % 5], "position": k}
                    for k, i, s in states
                ],
            )

    store.database.write(work)
    store.close()
    return study.study_id


def end_runs(path: Path, runs: int, stopped: threading.Event) -> None:
    """End 50 queued runs a second."""
    store, m, r = Ledger(str(path)), schema.members, schema.runs
    for first in range(0, runs, 500):
        if stopped.wait(1.0):
            break
        ids = [f"{k:020d}" for k in range(first, first + 500, 10)]
        done = [update(table).where(table.c.run_id.in_(ids)).values(status="finished") for table in (m, r)]
        store.database.write(lambda db, done=done: [db.execute(d) for d in done])
    store.close()


class Viewer:
    """One keep-alive connection, read by hand: 200 clients must cost less than the server that they measure."""

    def __init__(self, port: int, times: list[tuple[str, float, int]]) -> None:
        self._port, self._times = port, times
        self._tags: dict[str, str] = {}

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def get(self, kind: str, path: str) -> None:
        """One request, timed to the end of its body."""
        tag = f"If-None-Match: {self._tags[path]}\r\n" if path in self._tags else ""
        began = time.perf_counter()
        self._writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAccept-Encoding: gzip\r\n{tag}\r\n".encode()
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        status = int(head.split(" ")[1])
        await self._reader.readexactly(int(lines.get("content-length", 0)) if status != 304 else 0)
        self._times.append((kind, time.perf_counter() - began, status))
        if "etag" in lines:
            self._tags[path] = lines["etag"]

    async def look(self, study: str, until: float) -> None:
        """Pages and polls until then."""
        pages = {"queue": ("/", "/api/queue"), "study": (f"/study/{study}", f"/api/study/{study}"),
                 "report": (f"/study/{study}/report", "/api/pages"), "atlas": ("/atlas", "/api/pages")}  # fmt: skip
        await asyncio.sleep(random.uniform(0, 10))
        await self.open()
        while time.monotonic() < until:
            kind = random.choice(list(pages))
            page, poll = pages[kind]
            await self.get(kind, page)
            for _ in range(random.randint(2, 8)):
                if time.monotonic() > until:
                    break
                await asyncio.sleep(random.uniform(1.8, 2.2))
                await self.get("poll", poll)
        self._writer.close()


async def load(port: int, study: str, viewers: int, seconds: float) -> list[tuple[str, float, int]]:
    """What every request took."""
    times: list[tuple[str, float, int]] = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(Viewer(port, times).look(study, until) for _ in range(viewers)))
    return times


def main() -> int:
    """Fill, serve, look, say; 0 where the bar is met."""
    ask = argparse.ArgumentParser()
    ask.add_argument("--viewers", type=int, default=200)
    ask.add_argument("--runs", type=int, default=100_000)
    ask.add_argument("--seconds", type=float, default=30.0)
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.sqlite"
        study = fill(path, asked.runs)
        command = [sys.executable, "-m", "isoloss", "serve", "--ledger", str(path), "--port", "0", "--json"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        told = ""
        while not told.rstrip().endswith("}"):
            told += server.stdout.readline()
        port = int(json.loads(told)["address"].rstrip("/").rpartition(":")[2])
        stopped = threading.Event()
        writer = threading.Thread(target=end_runs, args=(path, asked.runs, stopped))
        try:
            warm: list[tuple[str, float, int]] = []
            while not any(
                status == 200 and kind == "atlas" for kind, _, status in warm
            ):  # its first page is being made
                time.sleep(1.0)
                asyncio.run(_once(port, warm))
            writer.start()
            times = asyncio.run(load(port, study, asked.viewers, asked.seconds))
        finally:
            stopped.set()
            server.terminate()
            server.wait()
        if writer.ident:
            writer.join()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; {asked.runs:,} runs, {asked.viewers} viewers for {asked.seconds:g} s")
    for kind in ("queue", "study", "report", "atlas", "poll"):
        mine = [t for k, t, _ in times if k == kind]
        if mine:
            print(
                f"{kind:8} {len(mine):6} answers  "
                + "  ".join(f"{n} {_at(mine, q):6.1f} ms" for n, q in QUANTILES.items())
            )
    bad = sum(status not in (200, 202, 304) for *_, status in times)
    p95 = _at([t for _, t, _ in times], 0.95)
    verdict = "met" if p95 < 300 and not bad else "missed"
    print(f"all      {len(times):6} answers, {bad} refused, p95 {p95:.1f} ms, bar 300 ms: {verdict}")
    return int(verdict != "met")


async def _once(port: int, times: list[tuple[str, float, int]]) -> None:
    viewer = Viewer(port, times)
    await viewer.open()
    await viewer.get("atlas", "/atlas")


def _at(values: list[float], share: float) -> float:
    values = sorted(values)
    return 1e3 * values[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    sys.exit(main())
