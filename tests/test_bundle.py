"""Bundles: any order of taking them in gives one ledger; nothing of a stranger's bundle is believed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import struct
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoloss import api, cli
from isoloss.errors import IsolossError
from isoloss.ledger.bundle.layout import SCHEMAS
from isoloss.ledger.bundle.read import BundleError
from isoloss.ledger.curve_size import curve_fault
from isoloss.ledger.digest import record_digest
from isoloss.ledger.records import pack_curve
from isoloss.ledger.store import Ledger, new_owner
from isoloss.planning.propose import propose
from isoloss.runs import Amount, Outcome
from tests import postgres
from tests.test_ledger import run_ridge

RUNS = 8


def outcome(kind: str) -> Outcome:
    """A record of that kind; ``other`` is finished too, on another machine with another result."""
    status = {"other": "finished"}.get(kind, kind)
    quality = {"finished": {"validation": 1.25}, "other": {"validation": 1.5}}.get(kind, {})
    curve = {"step": [1.0, 2.0], "train_loss": [3.0, 2.0]} if kind != "failed" else {}
    error = "RuntimeError: no luck" if kind == "failed" else ""
    return Outcome(
        status, quality, curve, {"examples": Amount(16.0, "counted")}, {"compute": 0.5}, error, ("a note", "more")
    )


def filled(opened, url, kinds) -> None:
    """A ledger of the study's first runs, each as `kinds` says: absent, queued, running, or a kind of record."""
    store = Ledger(str(url))
    store.open_study(opened.study, opened.text, "/somewhere/else.toml")
    first = [(0, run) for run in propose(opened.study, store.table(opened.study)).runs[:RUNS]]
    store.enqueue(opened.study, [run for run, kind in zip(first, kinds, strict=False) if kind != "absent"])
    for (_, run), kind in zip(first, kinds, strict=False):
        if kind == "running":
            mates = {r.spec.run_id: frozenset([r.spec.run_id]) for _, r in first}
            store.claim(opened.study, new_owner(), 1, mates)
        elif kind not in ("absent", "queued"):
            store.finish(run.spec.run_id, outcome(kind), {"cpu": kind})
    store.close()


def exported(url, out) -> Path:
    api.export_bundle(out, ledger=str(url))
    return Path(out)


def files(bundle: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(bundle.iterdir())}


KINDS = st.lists(
    st.sampled_from(["absent", "queued", "running", "finished", "other", "diverged", "dropped", "failed"]),
    min_size=RUNS, max_size=RUNS,
)  # fmt: skip


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(a=KINDS, b=KINDS, c=KINDS)
def test_any_order_of_import_gives_one_ledger(ridge, tmp_path_factory, a, b, c):
    folder, opened = tmp_path_factory.mktemp("merge"), api.open_study(ridge)
    bundles = []
    for name, kinds in zip("abc", (a, b, c), strict=True):
        filled(opened, folder / name, kinds)
        bundles.append(exported(folder / name, folder / f"{name}.bundle"))
    results = []
    for i, order in enumerate([*itertools.permutations(bundles), (*bundles, *bundles)][::2]):
        for bundle in order:
            api.import_bundles([bundle], ledger=str(folder / f"to{i}"))
        results.append(files(exported(folder / f"to{i}", folder / f"out{i}")))
        assert api.verify(str(folder / f"to{i}"))["faults"] == []
    # a ledger that is there already is one more order, and a bundle of a merged ledger stands for all of them
    api.import_bundles(bundles[1:], ledger=str(folder / "a"))
    results.append(files(exported(folder / "a", folder / "into-a")))
    api.import_bundles([folder / "out0"], ledger=str(folder / "again"))
    results.append(files(exported(folder / "again", folder / "again.bundle")))
    assert all(found == results[0] for found in results)


def test_a_record_beats_a_wait_and_two_records_are_reported(ridge, tmp_path):
    opened = api.open_study(ridge)
    filled(opened, tmp_path / "a", ["finished", "queued", "running", "failed", "finished"])
    filled(opened, tmp_path / "b", ["queued", "diverged", "finished", "finished", "other"])
    bundle = exported(tmp_path / "b", tmp_path / "b.bundle")
    (done,) = api.import_bundles([bundle], ledger=str(tmp_path / "a"))
    assert (done["new"], done["known"], done["records"]) == (0, 1, 3)
    store = Ledger(str(tmp_path / "a"))
    assert {s: n for s, (n, _) in store.progress_of(opened.study.study_id).items()} == {"finished": 4, "diverged": 1}
    stayed = {c["stayed"] for c in done["conflicts"]}
    assert len(done["conflicts"]) == 2 and stayed == {
        "the bundle's record replaced this ledger's",  # of the failed run
        "this ledger's record stayed",  # of two finished ones that which ended first
    }
    assert [c["qualities"] for c in done["conflicts"]] == ["differ", "differ"]
    filled(opened, tmp_path / "c", ["finished"])  # the same once more, at another time
    (again,) = api.import_bundles([exported(tmp_path / "c", tmp_path / "c.bundle")], ledger=str(tmp_path / "a"))
    assert [c["qualities"] for c in again["conflicts"]] == ["agree"]
    assert [s["path"] for s in store.studies()] == ["/somewhere/else.toml"]
    store.close()


def test_the_study_goes_on_where_the_bundle_ends(ridge, tmp_path):
    opened, tables = api.open_study(ridge), []
    run_ridge(opened, tmp_path / "a")
    bundle = exported(tmp_path / "a", tmp_path / "bundle")
    api.import_bundles([bundle], ledger=str(tmp_path / "b"))
    for name in "ab":
        store = Ledger(str(tmp_path / name))
        tables.append(store.table(opened.study).frame)
        store.close()
    assert tables[0].equals(tables[1]) and len(tables[0]) > 30


def test_one_study_of_two_is_exported(ridge, tmp_path):
    opened = api.open_study(ridge)
    filled(opened, tmp_path / "a", ["finished"] * 3)
    other = tmp_path / "other.toml"
    other.write_text(ridge.read_text().replace('"ridge"\n', '"second"\n', 1).replace("[16, 64, 256]", "[32, 128]"))
    filled(api.open_study(other), tmp_path / "a", ["finished"] * 2)
    for study in ("second", str(other)):
        done = api.export_bundle(tmp_path / study.replace("/", "-"), [study], ledger=str(tmp_path / "a"))
        assert done["rows"]["runs"] == 2 and done["rows"]["studies"] == 1
    with pytest.raises(IsolossError, match="unknown study 'secnd'; did you mean second"):
        api.export_bundle(tmp_path / "x", ["secnd"], ledger=str(tmp_path / "a"))
    assert not (tmp_path / "x").exists()


# -- a stranger's bundle ----------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(ridge, tmp_path) -> Path:
    filled(api.open_study(ridge), tmp_path / "a", ["finished", "diverged", "queued", "failed"])
    return exported(tmp_path / "a", tmp_path / "bundle")


def signed(bundle: Path) -> None:
    """The manifest as a stranger makes it, who can hash as well as we can."""
    said = json.loads((bundle / "manifest.json").read_text())
    for name in said["files"]:
        path = bundle / name
        rows = pq.read_metadata(path).num_rows
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        said["files"][name] = {"rows": rows, "bytes": path.stat().st_size, "sha256": digest}
    (bundle / "manifest.json").write_text(json.dumps(said))


def rewritten(bundle: Path, table: str, change, **options) -> None:
    rows = pq.read_table(bundle / f"{table}.parquet").to_pylist()
    change(rows)
    options = {"use_dictionary": False, "compression": "zstd"} | options
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[table]), bundle / f"{table}.parquet", **options)
    signed(bundle)


def refused(bundle: Path, said: str) -> None:
    target = bundle.parent / "target.sqlite"
    with pytest.raises(BundleError, match=said):
        api.import_bundles([bundle], ledger=str(target))
    assert not target.exists()


def test_any_flipped_byte_of_a_bundle_is_refused(bundle):
    for path in sorted(bundle.glob("*.parquet")):
        whole = path.read_bytes()
        path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        refused(bundle, f"{path.name}: is not the file that the manifest names")
        path.write_bytes(whole[:-1])
        refused(bundle, "SHA-256")
        path.write_bytes(whole)


@pytest.mark.parametrize("column", ["status", "qualities", "resources", "seconds", "error", "ended", "digest", "curve"])
def test_an_altered_record_is_named_though_the_stranger_hashes(bundle, column):
    def alter(rows):
        row = next(r for r in rows if r["status"] == "finished")
        changed = {"ended": 1.0, "curve": pack_curve({"step": [9.0]}), "status": "diverged"}
        row[column] = changed.get(column, "{}" if column != "digest" else "0" * 64)
        alter.id = row["run_id"]

    rewritten(bundle, "runs", alter)
    refused(bundle, f"run {alter.id}: its record does not match its digest")
    assert api.verify(str(bundle))["faults"][0]["id"] == alter.id


def redigested(row, notes=("a note", "more")) -> None:
    said = (
        "run_id",
        "spec",
        "status",
        "qualities",
        "resources",
        "seconds",
        "curve",
        "environment_id",
        "error",
        "ended",
    )
    row["digest"] = record_digest(**{k: row[k] for k in said}, notes=notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": "{}"}, "its spec does not match its run id"),
        ({"qualities": '{"validation": "inf"}'}, "finished with a quality that is not finite"),
        ({"qualities": "[1]"}, "its qualities are none"),
        ({"resources": '{"mana": [1.0, "counted"]}'}, "unknown resource 'mana'"),
        ({"resources": "[" * 100_000}, "its resources are none"),
        ({"curve": b"\x80\x04cos\nsystem\n"}, "its curve can't be read"),
        ({"ended": float("nan")}, "does not say when it ended"),
        ({"status": "perfect"}, "its status is 'perfect'"),
        ({"status": "running"}, "is being trained"),
        ({"environment_id": "0" * 16}, "its environment 0000000000000000 is missing"),
        ({"error": "a\0b"}, "holds a NUL"),
        ({"error": "x" * (1 << 21)}, "holds a text of more than"),
        ({"price": float("inf")}, "its price is no number"),
    ],
)
def test_nonsense_with_right_digests_is_refused(bundle, change, said):
    def alter(rows):
        row = next(r for r in rows if r["status"] == "finished")
        row.update(change)
        redigested(row)

    rewritten(bundle, "runs", alter)
    refused(bundle, said)


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("members", {"arm": "../../etc/passwd"}, "is no run of the study"),
        ("members", {"run_id": "0" * 20}, "its run is missing"),
        ("members", {"position": -1}, "has no place"),
        ("studies", {"name": "../../etc"}, "its text is not that of the study"),
        ("studies", {"text": "name = 'x'"}, "its text is not that of the study"),
        ("environments", {"data": "{}"}, "its text does not match its id"),
        ("notes", {"run_id": "f" * 20}, "has notes of f{20}, which is no run of it"),
        ("notes", {"text": "another"}, "does not match its digest"),
    ],
)
def test_what_lies_beside_the_runs_is_checked_too(bundle, table, change, said):
    rewritten(bundle, table, lambda rows: rows[-1].update(change))
    refused(bundle, said)


def test_links_and_other_files_are_refused(bundle, tmp_path):
    (bundle / "evil.py").write_text("")
    refused(bundle, r"evil\.py: belongs to no bundle")
    (bundle / "evil.py").unlink()
    secret = tmp_path / "secret.parquet"
    shutil.move(bundle / "runs.parquet", secret)
    (bundle / "runs.parquet").symlink_to(secret)
    refused(bundle, r"runs\.parquet: is a link")
    (bundle / "runs.parquet").unlink()
    refused(bundle, r"runs\.parquet: can't be read \(No such file")
    os.mkfifo(bundle / "runs.parquet")
    refused(bundle, r"runs\.parquet: is no plain file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "format: Field required"),
        ("[" * 60_000, "Invalid JSON"),
        ("x" * 70_000, "more than 65,536 bytes"),
        ('{"format": "isoloss bundle", "version": 99, "isoloss": "9.9", "schema": 9, "files": {}}', "newer isoloss"),
    ],
)
def test_a_manifest_that_is_none_is_refused(bundle, text, said):
    (bundle / "manifest.json").write_text(text)
    refused(bundle, said)


def test_a_manifest_names_no_file_of_its_own(bundle):
    said = json.loads((bundle / "manifest.json").read_text())
    said["files"]["../../../etc/passwd"] = said["files"].pop("runs.parquet")
    (bundle / "manifest.json").write_text(json.dumps(said))
    refused(bundle, "names files that no bundle has")


@pytest.mark.parametrize("dictionary", [False, True], ids=["zeros", "one text a million times"])
def test_a_decompression_bomb_is_refused_unopened(bundle, dictionary):
    count = 9_000 if dictionary else 80
    text = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["0" * (1 << 20)])
    ids = pa.array([f"{i:020x}" for i in range(count)])
    columns = [ids, pa.array([0] * count, pa.int64()), text if dictionary else text.dictionary_decode()]
    table = pa.table(columns, names=SCHEMAS["notes"].names)
    pq.write_table(
        table, bundle / "notes.parquet", use_dictionary=dictionary, compression="zstd", row_group_size=count,
        store_schema=False,
    )  # fmt: skip
    assert (bundle / "notes.parquet").stat().st_size < 1 << 21
    signed(bundle)
    refused(bundle, "unpacks to more than")


def test_a_curve_that_would_unpack_to_a_terabyte_is_not_unpacked():
    blob = pack_curve({"step": [float(i) for i in range(10_000)], "train_loss": [1.0] * 10_000})
    assert curve_fault(blob) == ""
    body = [at for at in range(0, len(blob) - 8, 8) if struct.unpack_from("<q", blob, at)[0] == 80_000]
    assert len(body) == 2
    for at in body:
        for stated in (1 << 40, CURVE + 8, -5):
            lying = blob[:at] + struct.pack("<q", stated) + blob[at + 8 :]
            assert "unpacks to more than" in curve_fault(lying)
    for at in range(len(blob)):  # whatever a byte says, it is a fault or none, never a crash
        if at % 7 == 0:
            curve_fault(blob[:at] + bytes([blob[at] ^ 0x40]) + blob[at + 1 :])
            curve_fault(blob[:at])


CURVE = 64 << 20


def test_the_command_line_says_it_in_one_line(bundle, tmp_path, capsys, monkeypatch):
    def ran(*words):
        monkeypatch.setattr(sys, "argv", ["isoloss", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    code, out, _ = ran("import", bundle, "--ledger", tmp_path / "n.sqlite")
    assert code == 0 and "4 new runs, 3 new records, 0 known; 1 new study" in out
    code, out, _ = ran("verify", bundle, "--json")
    assert code == 0 and json.loads(out) == {"name": str(bundle), "runs": 4, "faults": []}
    assert ran("export", "--ledger", tmp_path / "n.sqlite", "--out", bundle)[2].endswith(
        "is there already; name another --out, or remove it\n"
    )
    for words, said in (
        (("import", tmp_path / "nowhere"), "no such bundle"),
        (("import", tmp_path), "is no bundle of isoloss export"),
        (("import", bundle, "--where", "a=1"), "--where: does nothing to a bundle"),
        (("import", bundle, bundle, "--out", "x.csv"), "--out: is for one path of runs, and 2 are given"),
        (("export", "--ledger", tmp_path / "none.sqlite", "--out", "x"), "no such ledger"),
    ):
        code, out, err = ran(*words)
        assert (code, out, err.count("\n")) == (2, "", 1) and said in err


def test_columns_that_lack_or_are_null_are_refused(bundle):
    rewritten(bundle, "environments", lambda rows: rows[0].update(environment_id=None))
    refused(bundle, "environment_id: is empty in some row")
    table = pq.read_table(bundle / "environments.parquet").drop_columns(["data"])
    pq.write_table(table, bundle / "environments.parquet")
    signed(bundle)
    refused(bundle, r"environments\.parquet")


@postgres.needs_postgres
def test_a_ledger_moves_to_postgresql_and_back(ridge, tmp_path):
    filled(api.open_study(ridge), tmp_path / "a", ["finished", "diverged", "queued", "failed", "other"])
    there = exported(tmp_path / "a", tmp_path / "out")
    with postgres.server() as server:
        url = server.new_ledger()
        (done,) = api.import_bundles([there], ledger=url)
        assert done["new"] == 5 and api.import_bundles([there], ledger=url)[0]["known"] == 5
        assert api.verify(url)["faults"] == []
        back = exported(url, tmp_path / "back")
        assert files(back) == files(there)
        done = api.prune(["ridge"], ledger=url, cache=tmp_path, yes=True)
        assert [r["count"] for r in done["removals"]] == [1, 5] and api.status(ledger=url) == []
    assert postgres.PASSWORD not in str(done)


def test_hostile_names_stay_text_all_the_way(ridge, tmp_path):
    name = "'; DROP TABLE runs; --../../x[red]<b>{{7*7}}"
    path = ridge.with_name("hostile.toml")
    path.write_text(
        ridge.read_text().replace("[arms.ridge-again]", f'[arms."{name}"]').replace('= "ridge-again"', f'= "{name}"')
    )
    opened = api.open_study(path)
    filled(opened, tmp_path / "a", ["finished"] * RUNS)
    there = exported(tmp_path / "a", tmp_path / "bundle")
    api.import_bundles([there], ledger=str(tmp_path / "b"))
    assert api.verify(str(tmp_path / "b"))["faults"] == []
    store = Ledger(str(tmp_path / "b"))
    arms = set(store.table(opened.study).frame["arm"])
    store.close()
    assert arms <= set(opened.study.arms) and name in opened.study.arms
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["a", "b", "bundle", "ridge.py", "ridge.toml", "hostile.toml"]
    )
