"""A real PostgreSQL server for tests: Debian's package, a data folder and a socket of its own, no TCP."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

USER, PASSWORD = "ada", "s3cret word@/:%"


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs, which Debian keeps out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


#: Marks what needs a server.
needs_postgres = pytest.mark.skipif(program("initdb") is None, reason="apt-get install postgresql")


class Server:
    """A server in `folder`, which can be started, stopped and killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0
        # the server refuses to run as root
        name = next(n for n in ("postgres", "nobody") if n in {u.pw_name for u in pwd.getpwall()})
        self._as = ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--clear-groups"]
        if os.geteuid() != 0:
            self._as = []
        else:
            shutil.chown(folder, name)
        word = folder / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        made = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={word}", "--encoding=UTF8", "--no-sync"]
        self._call("initdb", "-D", str(folder / "data"), *made)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # what was written before a kill -9 is in the system's cache, so nothing has to wait for a disk
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=60 -c fsync=off"
        log = str(self.folder / "log")
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        """Stop it at once, as a power cut would, and clean up."""
        subprocess.run([*self._as, program("pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def kill(self) -> None:
        """kill -9 of the server's first process; returns when it and all its children are gone."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        group = [pid, *map(int, subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split())]  # fmt: skip
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and any(_lives(p) for p in group):
            time.sleep(0.01)
        # a killed server that nobody has reaped looks alive to the next one
        for lock in (self.folder / "data" / "postmaster.pid", self.folder / ".s.PGSQL.5432.lock"):
            lock.unlink(missing_ok=True)

    def new_ledger(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        self._count += 1
        name = f"ledger{self._count}"
        with psycopg.connect(
            host=str(self.folder), user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        ) as db:
            db.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@/{name}?host={quote(str(self.folder), safe='')}"

    def _call(self, name: str, *words: str) -> None:
        done = subprocess.run([*self._as, program(name), *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def server() -> Iterator[Server]:
    """A running server in a folder of its own, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path is at most 107 bytes
    running = Server(folder)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
