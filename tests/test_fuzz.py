"""Every reader of what a stranger wrote, on 10,000 spoilt inputs (`make fuzz` tries a million); faults found before."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from fuzz.pool import fuzz
from fuzz.targets import TARGETS
from isoloss import api
from isoloss.errors import LONGEST, IsolossError, LedgerError, TableError, printable
from isoloss.laws.expression import ExpressionLaw
from isoloss.ledger.conditions import where
from isoloss.ledger.connection import shown_name
from isoloss.ledger.importers import load
from isoloss.ledger.store import Ledger


def test_no_input_crashes_hangs_or_warns():
    tallies = fuzz(10_000, 20261122, list(TARGETS), os.cpu_count() or 1, seconds=20.0)
    assert [f for t in tallies.values() for f in t.faults] == []
    assert sum(t.inputs for t in tallies.values()) >= 9_990
    # an input that no reader accepts tests the first check alone
    assert all(t.returned and t.refused for t in tallies.values())


def test_a_message_is_one_short_line_that_any_terminal_shows():
    said = str(IsolossError("a\x1b[2J\n.toml", "b\u202e\ud800" + "x" * 10**6, "mend\x00 it"))
    assert said.isprintable() and len(said) <= LONGEST and said.startswith(r"a\x1b[2J .toml: b\u202e\ud800x")
    assert said.endswith(r"mend\x00 it")
    assert printable("plain, ä and 語") == "plain, ä and 語"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_lengths_that_lie_are_refused_and_not_believed(tmp_path, kind):
    """A reader that believes them ends the process (a panic, or a terabyte asked for)."""
    path, frame = tmp_path / f"runs.{kind}", pl.DataFrame({"arm": ["a", None] * 50, "loss": [1.0, None] * 50})
    frame.write_parquet(path) if kind == "parquet" else frame.write_ipc(path, compression="zstd")
    whole = path.read_bytes()
    for at in range(0, len(whole) - 8, 3):
        for length in (b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00\x00\x01\x00\x00"):
            path.write_bytes(whole[:at] + length + whole[at + len(length) :])
            try:
                load(path)
            except TableError as error:
                assert str(error).startswith(str(path))


def test_columns_of_odd_types_are_read_as_text_or_numbers(tmp_path):
    path = tmp_path / "runs.parquet"
    pl.DataFrame(
        {
            "arm": pl.Series(["a", "b"], dtype=pl.Categorical),
            "betas": [[0.9, 0.95], [0.9, 0.99]],
            "id": [b"\x00\xff", b"x"],
            "config": [{"lr": 0.1}, {"lr": 0.2}],
            "loss": pl.Series(["1.5", "2.5"]).cast(pl.Decimal(10, 2)),
        }
    ).write_parquet(path)
    frame = load(path).frame
    assert frame.sort("arm").rows(named=True)[0] == {
        "arm": "a", "betas": "[0.9, 0.95]", "id": "00ff", "loss": 1.5, "config.lr": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("mlruns/0/r/metrics/loss", b"\xb1 1 2"),
        ("mlruns/0/r/params/lr", b"\xff"),
        ("wandb/run-20260101_000000-a/files/wandb-summary.json", b"3"),
        ("wandb/run-20260101_000000-a/files/wandb-summary.json", b"[" * 100_000),
        ("runs.json", b"[" * 100_000),
        ("runs.json", b'{"a":' * 100_000),
    ],
)
def test_a_spoilt_file_of_a_tracker_is_named(tmp_path, name, spoilt):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(spoilt)
    if "mlruns" in name:
        (tmp_path / "mlruns/0/r/meta.yaml").write_text("run_id: r\nstatus: 3\n")
        (tmp_path / "mlruns/0/r/metrics").mkdir(exist_ok=True)
    with pytest.raises(TableError, match=path.name):
        load(tmp_path / name.split("/")[0])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("postgresql:/ada:s3cret@host/db", "...@host/db"),
        ("ada:s3cret@host/db", "...@host/db"),
        (":s3cret@host:-1/x\npostgresql://", "...@host:-1/x\npostgr://..."),
        ("sqlite:///a\npostgresql://ada:s3cret@host/db", "a\n...@host/db"),
        ("runs/my.sqlite", "runs/my.sqlite"),
        (":" * 100_000, ":" * 100_000),
    ],
    ids=["one slash", "none", "before the scheme", "two in one", "a file", "many colons"],
)
def test_a_mistyped_url_shows_no_password(name, shown):
    assert shown_name(name) == shown


@pytest.mark.parametrize("word", ["s3cret", "s3@cret", "s3/cr@t", "s3:cr@t", "s3#/?cret"])
@pytest.mark.parametrize("start", ["postgresql://", "postgresql+psycopg://", "postgres:/", "postgresql:"])
def test_a_url_in_any_place_shows_no_password(word, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url, whole = f"{start}ada:{word}@nowhere.invalid/runs", str(tmp_path / "l.sqlite")
    Ledger(whole).close()
    places = (
        lambda: api.status(ledger=url),
        lambda: api.gain(url, "a", "b"),
        lambda: api.run(url),
        lambda: api.prune([url], ledger=whole),
        lambda: api.rescue(url, "new.sqlite"),
        lambda: api.import_bundles([url], ledger=whole),
    )
    for place in places:
        with pytest.raises(IsolossError) as said:
            place()
        assert not any(part in str(said.value) for part in (word, "ada:", "cret", "cr@t", "@t")), said.value


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "pyproject.toml/l.sqlite"])
def test_a_ledger_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(LedgerError):
        Ledger(name)


def test_whole_numbers_of_any_size_stay_what_they_are(tmp_path):
    path = tmp_path / "runs.json"
    path.write_text('[{"seed": 18446744073709551615, "loss": 1.5}, {"seed": 18446744073709551614, "loss": 1}]')
    assert load(path).frame["seed"].to_list() == ["18446744073709551615", "18446744073709551614"]
    path.write_text(f'[{{"seed": {"9" * 400}, "loss": 1.5}}, {{"seed": 0.5, "loss": 1}}]')
    assert load(path).frame["seed"].to_list() == ["9" * 400, "0.5"]


def test_a_ledger_with_empty_names_is_verified(tmp_path):
    path = tmp_path / "l.sqlite"
    Ledger(str(path)).close()
    with closing(sqlite3.connect(path)) as db, db:
        schema = db.execute("SELECT sql FROM sqlite_master WHERE name = 'studies'").fetchone()[0]
        db.execute("DROP TABLE studies")
        db.execute(schema.replace(" NOT NULL", ""))
        db.execute("INSERT INTO studies (study_id) VALUES (NULL)")
    assert [f["kind"] for f in api.verify(str(path))["faults"]] == ["study"]


def test_a_law_of_any_depth_is_refused_in_one_line():
    with pytest.raises(TableError):
        ExpressionLaw("x" + ".a" * 970, ["x"])


def test_a_pattern_longer_than_any_name_is_refused():
    with pytest.raises(TableError, match="keep to 1,000"):
        where(pl.DataFrame({"a": ["b"]}), Path("runs.csv"), ["a=?" + "x" * 10**6])
