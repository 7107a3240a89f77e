"""Public tables: every byte is checked, the cache comes first, nothing half-written or altered is ever kept."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from isoloss.errors import IsolossError, MissingError, UnknownNameError
from isoloss.evidence import fetch as module
from isoloss.evidence.fetch import PublicTable, fetch, public_tables
from tests.conftest import ROOT
from tests.test_cli import isoloss

DATA = Path(os.environ.get("ISOLOSS_DATA", ROOT / "../shared/data"))
FILES = {"a/runs+1.csv": b"arm,c,loss\nx,1,2\n", "b.jsonl": b'{"a": 1}\n'}


@pytest.fixture
def table(monkeypatch) -> PublicTable:
    """A table of two files, pinned as the real ones are."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    made = PublicTable(
        "toy", "title", "about", "toy_folder", "owner/repo", "c0ffee", "MIT", "paper", sums,
        {"a/": "data folder/", "": "rest/"}, {}, {},
    )  # fmt: skip
    monkeypatch.setattr(module, "public_tables", lambda: {"toy": made})
    return made


@pytest.fixture
def server():
    """A web server that holds the table's files as GitHub would; `answers` can be changed, `asked` counts."""
    answers = {
        "/owner/repo/c0ffee/data%20folder/runs%2B1.csv": FILES["a/runs+1.csv"],
        "/owner/repo/c0ffee/rest/b.jsonl": FILES["b.jsonl"],
    }
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            data = answers.get(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    running.answers, running.asked = answers, asked
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def base(server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_table_is_fetched_once_and_then_found(table, server, tmp_path):
    seen = []
    first = fetch("toy", cache=tmp_path, base=base(server), progress=lambda done, total: seen.append((done, total)))
    assert first.folder == tmp_path / "toy_folder" and len(first.downloaded) == 2 and not first.cached
    assert {f: (first.folder / f).read_bytes() for f in files_in(first.folder)} == FILES
    assert seen == [(0, 2), (1, 2), (2, 2)]
    again = fetch("toy", cache=tmp_path, base="http://127.0.0.1:9")
    assert len(again.cached) == 2 and not again.downloaded and len(server.asked) == 2


def test_other_bytes_are_refused_and_not_kept(table, server, tmp_path):
    for path in server.answers:
        server.answers[path] += b" "
    with pytest.raises(MissingError, match="other bytes than those pinned"):
        fetch("toy", cache=tmp_path, base=base(server))
    assert files_in(tmp_path) == set()


def test_an_altered_file_in_the_cache_is_named_and_left_alone(table, server, tmp_path):
    folder = fetch("toy", cache=tmp_path, base=base(server)).folder
    (folder / "b.jsonl").write_text("altered")
    with pytest.raises(MissingError, match=r"b\.jsonl: holds other bytes.*delete it"):
        fetch("toy", cache=tmp_path, base=base(server))
    assert (folder / "b.jsonl").read_text() == "altered"


def test_a_missing_page_and_a_missing_network_are_one_line(table, server, tmp_path):
    server.answers.clear()
    with pytest.raises(MissingError, match="answered 404"):
        fetch("toy", cache=tmp_path, base=base(server))
    with pytest.raises(MissingError, match="can't be fetched") as caught:
        fetch("toy", cache=tmp_path, base="http://127.0.0.1:9")
    assert "\n" not in str(caught.value) and files_in(tmp_path) == set()


def test_a_cache_that_can_not_be_written_is_named(table, server, tmp_path):
    (tmp_path / "toy_folder").write_text("a file where the folder should be")
    with pytest.raises(MissingError, match=r"can't be written.*ISOLOSS_DATA"):
        fetch("toy", cache=tmp_path, base=base(server))


def test_every_listed_table_is_pinned_whole():
    for name, table in public_tables().items():
        assert table.title and table.about and table.paper and table.licence and table.columns, name
        assert table.checksums and all(len(d) == 64 and int(d, 16) >= 0 for d in table.checksums.values())
        assert set(table.derived) <= set(table.checksums)
        plain = set(table.checksums) - set(table.derived)
        assert not plain or len(table.commit) == 40, f"{name}: a commit in full, or it may come to mean another"
        urls = {table.url(file) for file in plain}
        assert len(urls) == len(plain) and all(f"/{table.repo}/{table.commit}/" in u for u in urls)
        assert not any(f.startswith(("/", "..")) or "/../" in f for f in table.checksums)
        for file in table.columns:
            assert any(f == file or f.startswith(file + "/") for f in table.checksums), (name, file)


@pytest.mark.skipif(not DATA.exists(), reason="no cached tables here (set ISOLOSS_DATA)")
@pytest.mark.parametrize("name", sorted(public_tables()))
def test_cached_tables_have_the_pinned_bytes(name):
    if not (DATA / public_tables()[name].folder).exists():
        pytest.skip(f"{name} is not cached here")
    found = fetch(name, cache=DATA, base="http://127.0.0.1:9")
    assert not found.downloaded and not found.absent and len(found.cached) == len(found.table.checksums)


def test_a_derived_table_is_cited_not_fetched(tmp_path):
    with pytest.raises(MissingError, match=r"can't be fetched, only cited.*WhenWen/marin"):
        fetch("marin", cache=tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean marin"):
        fetch("marn", cache=tmp_path)


def test_the_command_lists_prints_the_folder_and_fails_in_one_line(tmp_path):
    listed = json.loads(isoloss("fetch", "--list", "--json").stdout)
    assert {r["name"] for r in listed} == set(public_tables())
    wrong = isoloss("fetch", "porian", ISOLOSS_DATA=str(tmp_path))
    assert wrong.returncode == 2 and len(wrong.stderr.strip().splitlines()) == 1
    if DATA.exists():
        found = isoloss("fetch", "besiroglu", ISOLOSS_DATA=str(DATA))
        assert Path(found.stdout.strip()) == DATA / "besiroglu_analyzing-chinchilla", found.stderr
        assert "none stated" in found.stderr and "2404.10102" in found.stderr
    assert issubclass(MissingError, IsolossError)
