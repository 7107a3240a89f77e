"""`isoloss serve`: a real ledger over real HTTP: read-only, closed to strangers, and up to date."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isoloss import api
from isoloss.errors import IsolossError, LedgerError
from isoloss.ledger import schema
from isoloss.ledger.store import Ledger
from tests.conftest import RIDGE_PLUGIN, RIDGE_STUDY

pytest.importorskip("starlette", reason="pip install 'isoloss[serve]'")
pytest.importorskip("uvicorn", reason="pip install 'isoloss[serve]'")

TOKEN = "0123456789abcdef-token"
HOSTILE = "<script>alert(1)</script>' OR 1=1 --\u202e../../etc/passwd"


@dataclass(frozen=True)
class Served:
    """A server that runs, and where."""

    process: subprocess.Popen[str]
    port: int

    def get(
        self, path: str, method: str = "GET", host: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request, its path sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host if host is not None else f"127.0.0.1:{self.port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body

    def json(self, path: str) -> Any:
        """A JSON answer."""
        return json.loads(self.get(path)[2])

    def until(self, path: str, seconds: float = 200.0) -> bytes:
        """The page at `path` once it is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status, _, body = self.get(path)
            if status == 200:
                return body
            time.sleep(0.3)
        raise AssertionError(f"{path} did not come")


def start(folder: Path, *arguments: str, **environment: str) -> Served:
    command = [sys.executable, "-m", "isoloss", "serve", "--ledger", "runs.sqlite", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    told = ""
    while not told.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        told += line
    served = Served(process, int(json.loads(told)["address"].rstrip("/").rpartition(":")[2]))
    end = time.monotonic() + 30
    while True:
        try:
            served.get("/static/live.js")
            return served
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)


def stop(served: Served, how: int = signal.SIGINT) -> tuple[int, str]:
    served.process.send_signal(how)
    _, errors = served.process.communicate(timeout=30)
    return served.process.returncode, errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger: a study of a plug-in that has run, and one whose every word is hostile."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "ridge.py").write_text(RIDGE_PLUGIN, encoding="utf-8")
    (folder / "ridge.toml").write_text(RIDGE_STUDY, encoding="utf-8")
    ledger = str(folder / "runs.sqlite")
    api.run(folder / "ridge.toml", workers=1, ledger=ledger, out=folder / "reports")
    store = Ledger(ledger)
    study = hostile_study(store)
    store.database.write(lambda db: db.execute(schema.studies.insert().values(**study)))
    store.close()
    return folder


def hostile_study(store: Ledger) -> dict[str, Any]:
    """The ledger's study under a hostile name and path, with a text that is no study."""
    (held,) = store.studies()
    return {**held, "study_id": "h" * 16, "name": HOSTILE, "path": "../../../../etc/passwd", "text": "not = [a study"}


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    made = start(folder, "--plugins")
    yield made
    stop(made)


def test_the_queue_says_what_the_ledger_holds(served: Served, folder: Path) -> None:
    status, _, body = served.get("/")
    assert status == 200 and b"<table" in body and b"<script>" not in body
    queue = served.json("/api/queue")
    (ridge,) = [s for s in queue["studies"] if s["study"] == "ridge"]
    (told,) = [s for s in api.status(ledger=str(folder / "runs.sqlite")) if s["study"] == "ridge"]
    assert ridge["ended"] == sum(told["runs"].values()) and ridge["open"] == 0 and ridge["state"] == "finished"
    cells = served.json(f"/api/study/{ridge['study_id']}")["cells"]
    assert {c["arm"] for c in cells} == {"ridge", "ridge-again"} and sum(c["runs"]["finished"] for c in cells) >= 18


def test_pages_are_made_when_asked_for_and_kept_until_runs_change(served: Served, folder: Path) -> None:
    study = next(s for s in served.json("/api/queue")["studies"] if s["study"] == "ridge")
    path = f"/study/{study['study_id']}/report"
    assert served.get(path)[0] == 202
    page = served.until(path).decode()
    assert "an A/A comparison" in page and '<script src="/static/live.js"></script>' in page
    headers = served.get(path)[1]
    policy = headers["content-security-policy"]
    assert "unsafe-eval" not in policy and "'unsafe-inline'" not in policy.split("style-src")[0] and "sha256-" in policy
    assert served.get(path, If_None_Match=headers["etag"])[0] == 304
    assert served.json("/api/pages")[study["study_id"]] == study["version"]
    packed = served.get(path, Accept_Encoding="gzip")
    assert packed[1]["content-encoding"] == "gzip" and len(packed[2]) < len(page)

    # a run that ends elsewhere changes the version, and the page follows
    store = Ledger(str(folder / "runs.sqlite"))
    r, m = schema.runs, schema.members

    def requeue(db: Any) -> None:
        one = db.scalar(schema.members.select().with_only_columns(m.c.run_id).where(m.c.purpose == "report").limit(1))
        db.execute(m.update().where(m.c.run_id == one).values(status="failed"))
        db.execute(r.update().where(r.c.run_id == one).values(status="failed", error=HOSTILE))

    store.database.write(requeue)
    store.close()
    end = time.monotonic() + 200
    while served.json("/api/pages")[study["study_id"]] == study["version"]:
        served.get(path)
        assert time.monotonic() < end, "the page was not made again"
        time.sleep(0.3)
    assert served.get(path)[1]["etag"] != headers["etag"]


def test_the_atlas_and_origin_are_served(served: Served) -> None:
    assert b"Atlas of innovations" in served.until("/atlas")
    assert b"Algorithmic Progress" in served.until("/origin")


def test_what_cannot_be_read_is_said_as_text(served: Served) -> None:
    served.until(f"/study/{'h' * 16}/report")
    end = time.monotonic() + 200
    while b"not valid TOML" not in (body := served.get(f"/study/{'h' * 16}/report")[2]):
        assert time.monotonic() < end
        time.sleep(0.3)
    assert b"<script>alert" not in body and b"root:" not in body and b"&lt;script&gt;" in body


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "/../../etc/passwd", "/static/../../app.py", "/static/..%2f..%2fapp.py", "/static/%2e%2e/app.py",
        "/static//etc/passwd", "/static/app.py", "/study/../../etc/passwd", "/study/..%2f..%2fetc%2fpasswd/report",
        "/study/%00/report", "/study/ridge/report", "/api/study/../queue", "/api/study/%27%20OR%201=1", "/study/",
        "/atlas/", "/runs.sqlite", "/ridge.toml", "//evil.example/", "/%ff%fe", "/api/study/" + "a" * 3000,
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_ledger(served: Served, path: str) -> None:
    status, headers, body = served.get(path)
    assert status == 404 and body == b"There is no such page. Start at /.\n" and "location" not in headers


def test_only_reading_is_possible(served: Served, folder: Path) -> None:
    before = hashlib.sha256((folder / "runs.sqlite").read_bytes()).hexdigest()
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"):
        assert served.get("/api/queue", method)[0] in (400, 405), method
    status, headers, body = served.get("/", "HEAD")
    assert status == 200 and not body and int(headers["content-length"]) > 0
    assert served.get("/" + "a" * 5000)[0] == 414
    assert hashlib.sha256((folder / "runs.sqlite").read_bytes()).hexdigest() == before
    store = Ledger(str(folder / "runs.sqlite"), read_only=True)
    with pytest.raises(LedgerError):
        store.database.write(lambda db: db.execute(schema.members.delete()))
    store.close()


def test_a_name_that_is_not_ours_is_refused(served: Served) -> None:
    port = served.port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "192.168.1.7",
        "",
        "localhost@evil",
        "[::1",
    ):
        assert served.get("/api/queue", host=host)[0] == 400, host
    for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert served.get("/api/queue", host=host)[0] == 200, host


def test_headers_keep_answers_in_their_place(served: Served) -> None:
    for path in ("/", "/api/queue", "/static/live.js", "/nowhere"):
        headers = served.get(path)[1]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (
            "'unsafe-inline'" not in headers["content-security-policy"] and "access-control-allow-origin" not in headers
        )


def test_a_token_is_asked_for_once_and_then_kept_from_sight(folder: Path) -> None:
    served = start(folder, "--host", "127.0.0.1", ISOLOSS_TOKEN=TOKEN)
    try:
        for path in (
            "/",
            "/api/queue",
            "/atlas",
            "/static/live.js",
            "/nowhere",
            "/?token=",
            "/?token=wrong",
            f"/atlas?token={TOKEN}",
            f"/?token={TOKEN}&token={TOKEN}",
        ):
            status, headers, body = served.get(path)
            assert status == 401 and "set-cookie" not in headers and TOKEN.encode() not in body, path
        status, headers, _ = served.get(f"/?token={TOKEN}")
        cookie = headers["set-cookie"]
        assert status == 303 and headers["location"] == "/" and TOKEN not in cookie
        assert "HttpOnly" in cookie and re.search("samesite=strict", cookie, re.I)
        mine = cookie.split(";")[0]
        assert served.get("/api/queue", Cookie=mine)[0] == 200
        assert served.get("/api/queue", Cookie=mine[:-1] + "x")[0] == 401
        assert served.get("/api/queue", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert served.get("/api/queue", Authorization=f"Bearer {TOKEN}x")[0] == 401
    finally:
        code, errors = stop(served)
    assert code == 0 and TOKEN not in errors


def test_others_are_let_in_with_a_token_only(folder: Path) -> None:
    ledger = str(folder / "runs.sqlite")
    with pytest.raises(IsolossError, match="needs a token"):
        api.serve(ledger, host="0.0.0.0", port=0)
    with pytest.raises(IsolossError, match="has 5 characters"):
        api.serve(ledger, port=0, token="short")
    served = start(folder, "--host", "0.0.0.0", ISOLOSS_TOKEN=TOKEN)
    try:
        bearer = f"Bearer {TOKEN}"
        assert served.get("/api/queue", Authorization=bearer)[0] == 200
        assert served.get("/api/queue", host="10.1.2.3:80", Authorization=bearer)[0] == 200
        assert served.get("/api/queue", host="evil.example", Authorization=bearer)[0] == 400
    finally:
        stop(served)


def test_faults_of_starting_are_one_line(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(IsolossError, match="is in use") as raised:
            api.serve(str(folder / "runs.sqlite"), port=taken.getsockname()[1])
        assert "\n" not in str(raised.value)
    with pytest.raises(LedgerError, match="no such ledger"):
        api.serve(str(tmp_path / "none.sqlite"), port=0)
    with pytest.raises(IsolossError, match="is no folder of results"):
        api.serve(str(folder / "runs.sqlite"), results=tmp_path / "nowhere")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_at_once_and_leaves_nothing_behind(folder: Path, how: int) -> None:
    served = start(folder)
    served.get("/origin")
    time.sleep(1.0)  # its page is being made
    began = time.monotonic()
    code, errors = stop(served, how)
    assert time.monotonic() - began < 10 and "Traceback" not in errors and "leaked" not in errors
    assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def test_plug_ins_run_only_where_that_is_allowed(folder: Path) -> None:
    served = start(folder)
    try:
        study = next(s for s in served.json("/api/queue")["studies"] if s["study"] == "ridge")
        end = time.monotonic() + 200
        while b"needs plug-ins, which are code" not in served.get(f"/study/{study['study_id']}/report")[2]:
            assert time.monotonic() < end
            time.sleep(0.3)
    finally:
        stop(served)
