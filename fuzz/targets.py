"""What is fuzzed: each target makes an input from a real seed and hands it to one reader of the package."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from fuzz import mutate
from isoloss.errors import IsolossError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Target:
    """`make` writes an input, in an empty folder if it is a file; `read` gives what `make` returned to the package.

    `share`: of all inputs; the cheap get most.
    """

    name: str
    share: float
    make: Callable[[Random, Path], Any]
    read: Callable[[Any], Any]
    reads: str


@cache
def _studies() -> tuple[str, ...]:
    return tuple(p.read_text() for p in sorted((ROOT / "studies").rglob("*.toml")))


@cache
def _runs() -> pl.DataFrame:
    """A few runs of each arm of a table that ships."""
    frame = pl.read_csv(ROOT / "results" / "quickstart" / "runs.csv")
    reported = frame.filter(pl.col("purpose") == "report")
    return pl.concat([reported.filter(pl.col("seed") <= reported["seed"].min() + 1), frame.head(4)])


@cache
def _cards() -> tuple[str, ...]:
    return tuple(p.read_text() for p in sorted((ROOT / "results").glob("*/card.json")))


def _named(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    return path


def _maybe_raw(rng: Random, data: str | bytes, share: float = 0.2) -> bytes:
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return mutate.raw(rng, data) if rng.random() < share else data


# -- study files ---------------------------------------------------------------------------------------------------


def _study(rng: Random, folder: Path) -> Path:
    import tomllib

    seed = rng.choice(_studies())
    if rng.random() < 0.5:
        return _named(folder, "study.toml", mutate.toml(mutate.tree(rng, tomllib.loads(seed))))
    return _named(folder, "study.toml", _maybe_raw(rng, mutate.text(rng, seed, rng.choice(_studies())), 0.1))


def _read_study(path: Path) -> None:
    from isoloss.study import read_study

    study, _ = read_study(path)
    assert len(study.study_id) == 16


# -- the command line ----------------------------------------------------------------------------------------------

_COMMANDS = (
    "gain runs.csv --baseline a --candidate b --at 1e18 --floor shared --mode curve --json",
    "gain runs.csv -b a -c b --where purpose=report --where arm=a* --best 1 --best-of lr --curves end",
    "fit runs.csv --law chinchilla --parameters N --tokens D --bootstrap 100",
    "fit runs.csv --law 'E + A*C**-alpha' --arm-column optimizer --share E",
    "isoflop runs.csv", "chain runs.csv --arms a,b --budget-growth 4", "attribute runs.csv --factors rope,swiglu=1",
    "rank runs.csv --baseline a --candidates b,c", "next runs.csv -b a -c b --spend 1e18",
    "origin --years 2013:2025 --add mine=2.5 --index new", "atlas --field all --results reports",
    "run study.toml --workers 2 --engine local --ledger l.sqlite --out reports --device cpu",
    "status --ledger postgresql://user:secret@host/db --json", "plan study.toml --no-timing", "list laws",
    "import runs.csv --out x.parquet --where a=1 --curves all", "fetch --list", "report study.toml --json",
)  # fmt: skip


def _command(rng: Random, folder: Path) -> list[str]:
    words = rng.choice(_COMMANDS).split()
    other = rng.choice(_COMMANDS).split()
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(words) + 1)
        pick = rng.randrange(4)
        if pick == 0:
            words[at : at + 1] = [mutate.word(rng)]
        elif pick == 1:
            words[at : at + 1] = [rng.choice(other)]
        elif pick == 2:
            del words[at : at + 1]
        else:
            words[at : at + 1] = [mutate.text(rng, "".join(words[at : at + 1]), " ".join(other))]
    return words


def _parse_command(words: list[str]) -> None:
    """As `isoloss.cli.main` does, less the verb's own work."""
    import typer

    from isoloss.usage import usage_error

    root: Any = _root()
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            context = root.make_context("isoloss", list(words))
            name, command, rest = root.resolve_command(context, [*context._protected_args, *context.args])
            command.make_context(name, rest, parent=context)
    except typer.Exit:
        return
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise usage_error(error) from None


@cache
def _root() -> Any:
    import typer

    from isoloss.cli import app

    return typer.main.get_command(app)


def _verb(rng: Random, folder: Path) -> list[str]:
    """A verb's whole work on a good table, its options spoilt."""
    path = folder / "runs.csv"
    _runs().write_csv(path)
    words = rng.choice((
        f"gain {path} -b lstm -c modern --where purpose=report --at 1e10 --floor shared --mode curve",
        f"gain {path} -b lstm -c retro --best-of seed --rung-column rung --seed-column seed --json",
        f"fit {path} --law power --resource train_flops --quality test --where arm=lstm --bootstrap 20",
        f"fit {path} --law E+A*train_flops**-alpha --quality test --bootstrap 20 --json",
        f"import {path} --out {folder}/out.csv --where arm=lstm",
    )).split()  # fmt: skip
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(2, len(words))
        words[at] = mutate.word(rng) if rng.random() < 0.5 else mutate.text(rng, words[at], "modern 0.5 test")
    if "--out" in words:  # an --out elsewhere would be heeded
        words[words.index("--out") + 1] = f"{folder}/out.csv"
    return [words[0], str(path), *words[2:]]


def _run_verb(words: list[str]) -> None:
    from isoloss.cli import main

    quiet, before = io.StringIO(), sys.argv
    sys.argv = ["isoloss", *words]
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            main()
    except SystemExit as ended:
        if ended.code not in (None, 0, 1, 2, 3):
            raise AssertionError(f"exit code {ended.code}") from None
        if ended.code == 2:
            raise IsolossError("cli", "refused") from None
    finally:
        sys.argv = before


# -- options with a grammar of their own -----------------------------------------------------------------------------

_LAWS = (
    "E + A*C**-alpha", "E + A*N**-alpha + B*D**-beta", "E + (A/C)**alpha", "exp(a) + exp(b)*C**-c",
    "E + A*log(C)**-2; 0 < E < 3", "L0 + A*(1 + C/K)**(-alpha)", "tanh(a*C) - sqrt(b)/C",
)  # fmt: skip


def _law(rng: Random, folder: Path) -> str:
    return mutate.text(rng, rng.choice(_LAWS), rng.choice(_LAWS))


def _read_law(text: str) -> None:
    from isoloss.laws.expression import ExpressionLaw

    ExpressionLaw(text, columns=["C", "N", "D"])


def _option(rng: Random, folder: Path) -> tuple[str, str]:
    seeds = {
        "where": ("arm=lstm", "purpose=rep*", "test=?.5", "seed=1", "rung=1e9"),
        "pairs": ("mine=2.5", "a=b=c", "x=gain.csv"), "number": ("1.8", "-3", "1e400"), "span": ("2013:2025", "1:2:3"),
        "floor": ("shared", "free", "1.7"), "listed": ("a,b,c", ",,"),
    }  # fmt: skip
    kind = rng.choice(list(seeds))
    return kind, mutate.text(rng, rng.choice(seeds[kind]), rng.choice(seeds[kind]))


def _read_option(given: tuple[str, str]) -> None:
    from isoloss.cli import parse
    from isoloss.ledger.conditions import where

    kind, text = given
    if kind == "where":
        where(_runs(), Path("runs.csv"), [text])
    elif kind == "pairs":
        parse.pairs("--add", [text], "mine=2.5")
    elif kind == "number":
        parse.number("--at", "budget", text)
    else:
        {"span": parse.span, "floor": parse.floor_of, "listed": parse.listed}[kind](text)


# -- run tables ------------------------------------------------------------------------------------------------------


def _read_table(path: Path) -> None:
    from isoloss.ledger.external import read_runs, select_arms

    table = read_runs(path)
    assert len(table.frame) == len(table.rows)
    select_arms(table, table.arms()[:2])


def _csv(rng: Random, folder: Path) -> Path:
    frame = mutate.table(rng, _runs()) if rng.random() < 0.7 else _runs()
    flat = frame.select(pl.all().exclude(pl.List, pl.Struct, pl.Binary, pl.Duration))
    written = flat.write_csv(separator=rng.choice(",,,;\t"))
    if rng.random() < 0.6:
        written = mutate.text(rng, written, written[:400])
    data = _maybe_raw(rng, written, 0.15)
    return _named(folder, rng.choice(("runs.csv", "runs.csv", "runs.tsv", "runs", "runs.parquet", "runs.json")), data)


def _json(rng: Random, folder: Path) -> Path:
    rows: list[Any] = _runs().head(8).to_dicts()
    if rng.random() < 0.5:
        rows = [
            {"config": {"arm": r["arm"], "lr": 0.1}, "summary": {k: v for k, v in r.items() if k != "arm"}}
            for r in rows
        ]
    shape = rng.randrange(4)
    whole: Any = {k: [r[k] for r in rows] for k in rows[0]} if shape == 3 else rows
    if rng.random() < 0.7:
        whole = mutate.tree(rng, whole)
    lines = shape < 2 and isinstance(whole, list)
    told = "\n".join(json.dumps(row) for row in whole) if lines else json.dumps(whole)
    if rng.random() < 0.4:
        told = mutate.text(rng, told, '{"a": [1, NaN, Infinity], "b": {"c": null}}')
    return _named(folder, rng.choice(("runs.jsonl", "runs.json", "runs.csv")), _maybe_raw(rng, told, 0.1))


def _columnar(rng: Random, folder: Path) -> Path:
    kind = rng.choice(("parquet", "arrow"))
    frame = mutate.table(rng, _runs()) if rng.random() < 0.6 else _runs()
    sink = io.BytesIO()
    if kind == "parquet":
        frame.write_parquet(sink, compression=rng.choice(("zstd", "snappy", "uncompressed")))
    else:
        frame.write_ipc(sink, compression=rng.choice(("zstd", "uncompressed")))
    return _named(folder, f"runs.{kind}", _maybe_raw(rng, sink.getvalue(), 0.6))


def _curves(rng: Random, folder: Path) -> Path:
    root = folder / "curves"
    for arm in ("lstm", "modern"):
        (root / arm).mkdir(parents=True)
        for seed in (1, 2):
            curve = pl.DataFrame({"step": range(1, 5), "train_flops": [k * 1e9 * seed for k in range(1, 5)],
                                  "loss": [4.0 / k for k in range(1, 5)]})  # fmt: skip
            if rng.random() < 0.4:
                curve = mutate.table(rng, curve)
            flat = curve.select(pl.all().exclude(pl.List, pl.Struct, pl.Binary, pl.Duration)).write_csv()
            if rng.random() < 0.2:
                flat = mutate.text(rng, flat)
            name = f"run_seed{seed}.csv" if rng.random() < 0.9 else _file_name(rng)
            _named(root / arm, name, _maybe_raw(rng, flat, 0.1))
    return root


def _file_name(rng: Random) -> str:
    drawn = (
        "".join(c for c in mutate.word(rng) if c not in "/\0").encode("utf-8", "ignore")[:60].decode("utf-8", "ignore")
    )
    return f"x{drawn}.csv"


_META = "run_id: {run}\nstatus: 3\nlifecycle_stage: active\nrun_name: {run}\n"


def _mlflow(rng: Random, folder: Path) -> Path:
    root = folder / "mlruns" / "0"
    for k, arm in enumerate(("lstm", "lstm", "modern", "modern")):
        run = root / f"run{k}"
        files = {"meta.yaml": _META.format(run=run.name), "params/arm": arm, "params/seed": str(k),
                 "metrics/loss": f"1700000000 {3.0 - k} 1\n1700000001 {2.0 + k / 9} 2\n",
                 "metrics/train_flops": f"1700000001 {1e9 * (1 + k // 2)} 2\n"}  # fmt: skip
        for name, said in files.items():
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            said = mutate.text(rng, said, _META) if rng.random() < 0.15 else said
            _named(run, name, _maybe_raw(rng, said, 0.05))
    return folder / "mlruns"


def _wandb(rng: Random, folder: Path) -> Path:
    for k, arm in enumerate(("lstm", "lstm", "modern", "modern")):
        files = folder / "wandb" / f"run-20260101_00000{k}-abc{k}" / "files"
        files.mkdir(parents=True)
        summary: Any = {"loss": 2.0 + k / 9, "train_flops": 1e9 * (1 + k // 2), "_step": 10, "_wandb": {"runtime": 3}}
        config = f"arm:\n  value: {arm}\nseed:\n  value: {k}\nwandb_version: 1\n"
        if rng.random() < 0.4:
            summary = mutate.tree(rng, summary)
        told = json.dumps(summary)
        _named(files, "wandb-summary.json", mutate.text(rng, told) if rng.random() < 0.15 else told)
        _named(files, "config.yaml", _maybe_raw(rng, mutate.text(rng, config) if rng.random() < 0.2 else config, 0.05))
    return folder / "wandb"


@cache
def _events() -> bytes:
    """An event file as TensorBoard's own writer makes it."""
    import tempfile

    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = EventFileWriter(folder)
        for step in range(3):
            values = [Summary.Value(tag=t, simple_value=v) for t, v in (("loss", 3.0 - step), ("train_flops", 1e9))]
            writer.add_event(Event(wall_time=float(step), step=step, summary=Summary(value=values)))
        writer.close()
        return next(Path(folder).glob("*")).read_bytes()


def _tensorboard(rng: Random, folder: Path) -> Path:
    for arm in ("lstm", "modern"):
        run = folder / "logs" / arm / "r1"
        run.mkdir(parents=True)
        _named(run, "events.out.tfevents.1.host", _maybe_raw(rng, _events(), 0.6))
    return folder / "logs"


def _card(rng: Random, folder: Path) -> Path:
    seed = rng.choice(_cards())
    if rng.random() < 0.6:
        return _named(folder, "card.json", json.dumps(mutate.tree(rng, json.loads(seed))))
    return _named(folder, "card.json", _maybe_raw(rng, mutate.text(rng, seed), 0.2))


def _read_card(path: Path) -> None:
    from isoloss.evidence.cards import read_card

    read_card(path)


# -- ledgers and bundles -----------------------------------------------------------------------------------------------


@cache
def _ledger() -> tuple[bytes, dict[str, bytes]]:
    """A ledger's file with a few records of a study that ships, and its bundle."""
    import tempfile

    from isoloss.ledger import bundle
    from isoloss.ledger.store import Ledger
    from isoloss.planning.plan import PlannedRun
    from isoloss.runs import Amount, Outcome, RunSpec
    from isoloss.study import read_study

    study, text = read_study(ROOT / "studies" / "smoke.toml")
    arm, rung = next(iter(study.arms)), study.ladder.rungs[0]
    with tempfile.TemporaryDirectory() as scratch:
        path, out = Path(scratch) / "l.sqlite", Path(scratch) / "bundle"
        store = Ledger(str(path))
        store.open_study(study, text, "smoke.toml")
        specs = [RunSpec("a", 1, "t", 1, {}, "train_flops", rung, None, {"lr": 0.1}, k, ("test",)) for k in range(6)]
        store.enqueue(
            study, [(0, PlannedRun(spec=spec, arm=arm, rung=rung, purpose="report", flops=1e9)) for spec in specs]
        )
        for k, spec in enumerate(specs[:5]):
            curve = {"step": [1.0, 2.0], "train_loss": [2.0, 1.0]}
            store.finish(
                spec.run_id,
                Outcome(
                    "finished",
                    {"test": 1.0 + k},
                    curve,
                    {"steps": Amount(2.0, "counted")},
                    {"compute": 1.0},
                    "",
                    ("n",),
                ),
                {"cpu": "x"},
            )
        bundle.write(store.database, out)
        store.database.vacuum()
        store.close()
        return path.read_bytes(), {p.name: p.read_bytes() for p in sorted(out.iterdir())}


def _bundle(rng: Random, folder: Path) -> Path:
    """A bundle whose stranger hashes as well as we can: the reader gets past the manifest."""
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    from isoloss.ledger.bundle.layout import SCHEMAS

    files = dict(_ledger()[1])
    name = rng.choice([n for n in files if n.endswith(".parquet")])
    if rng.random() < 0.6:
        rows = mutate.tree(rng, pq.read_table(io.BytesIO(files[name])).drop_columns(
            [c for c in ("curve",) if name == "runs.parquet"]).to_pylist())  # fmt: skip
        sink = io.BytesIO()
        with contextlib.suppress(pa.ArrowException, ValueError, TypeError, OverflowError, AttributeError, KeyError):
            table = pa.Table.from_pylist(rows, schema=SCHEMAS[name.removesuffix(".parquet")])
            pq.write_table(table, sink, use_dictionary=rng.random() < 0.2, compression="zstd")
            files[name] = sink.getvalue()
    else:
        files[name] = mutate.raw(rng, files[name])
    manifest = json.loads(files["manifest.json"])
    for file, said in manifest["files"].items():
        said |= {"bytes": len(files[file]), "sha256": hashlib.sha256(files[file]).hexdigest()}
        with contextlib.suppress(pa.ArrowException, OSError, ValueError):
            said["rows"] = pq.read_metadata(io.BytesIO(files[file])).num_rows
    told = json.dumps(mutate.tree(rng, manifest) if rng.random() < 0.15 else manifest)
    files["manifest.json"] = _maybe_raw(rng, told, 0.03)
    for file, data in files.items():
        _named(folder, file, data)
    return folder


def _read_bundle(path: Path) -> None:
    from isoloss.ledger.bundle import Bundle
    from isoloss.ledger.bundle.merge import faults

    found = list(faults(Bundle(path)))
    if found:
        raise IsolossError(path, f"{found[0]['id']}: {found[0]['fault']}")


def _curve(rng: Random, folder: Path) -> bytes:
    return mutate.raw(rng, _packed())


@cache
def _packed() -> bytes:
    from isoloss.ledger.records import pack_curve

    return pack_curve({"step": [float(i) for i in range(200)], "train_loss": [1.0 / (i + 1) for i in range(200)]})


def _read_curve(blob: bytes) -> None:
    from isoloss.ledger.curve_size import curve_fault
    from isoloss.ledger.records import unpack_curve

    said = curve_fault(blob)
    if said:
        raise IsolossError("curve", said)
    unpack_curve(blob)


def _ledger_file(rng: Random, folder: Path) -> Path:
    return _named(folder, "l.sqlite", mutate.raw(rng, _ledger()[0]))


def _read_ledger(path: Path) -> None:
    from isoloss.ledger.rescue import rescue
    from isoloss.ledger.store import Ledger
    from isoloss.ledger.verify import faults

    try:
        store = Ledger(str(path), create=False)
        try:
            store.progress(), store.errors(), store.notes(), store.studies()
            list(faults(store.database))
        finally:
            store.close()
    finally:
        rescue(path, path.with_name("saved.sqlite"))


def _url(rng: Random, folder: Path) -> str:
    seeds = ("postgresql://ada:s3cret@db.example:5432/runs?sslmode=require", "runs.sqlite", "sqlite:///runs.sqlite",
             "postgresql://ada@/runs?host=/run/pg", "mysql://u:p@h/d")  # fmt: skip
    return mutate.text(rng, rng.choice(seeds), rng.choice(seeds))


def _read_url(text: str) -> None:
    from isoloss.ledger.connection import Database, shown_name

    shown = shown_name(text)
    assert ":s3cret@" not in text or ":s3cret@" not in shown, shown
    Database(text, create=False).close()


def load_readers(folder: Path) -> None:
    """Read some inputs of every target in `folder`, so that all is imported: no input is charged for it, and a signal
    that cuts an import short would leave half a module to all inputs after."""
    for target in TARGETS.values():
        for number in range(20):
            shutil.rmtree(folder / "in", ignore_errors=True)
            (folder / "in").mkdir()
            with contextlib.suppress(Exception, SystemExit):  # found and told when their number comes
                target.read(target.make(Random(f"0:{target.name}:{number}"), folder / "in"))


TARGETS = {
    t.name: t
    for t in (
        Target("study", 0.30, _study, _read_study, "study files"),
        Target("command", 0.10, _command, _parse_command, "words of the command line"),
        Target("option", 0.15, _option, _read_option, "conditions and options with a grammar"),
        Target("law", 0.12, _law, _read_law, "laws of one's own"),
        Target("csv", 0.09, _csv, _read_table, "CSV and TSV tables"),
        Target("json", 0.04, _json, _read_table, "JSON and JSON lines"),
        Target("columnar", 0.03, _columnar, _read_table, "Parquet and Arrow tables"),
        Target("card", 0.03, _card, _read_card, "study cards"),
        Target("url", 0.05, _url, _read_url, "ledger names and URLs"),
        Target("bundle", 0.03, _bundle, _read_bundle, "bundles, hashed again"),
        Target("curve", 0.05, _curve, _read_curve, "packed curves"),
        Target("ledger", 0.006, _ledger_file, _read_ledger, "ledger files: status, verify, rescue"),
        Target("curves", 0.01, _curves, _read_table, "folders of curves"),
        Target("mlflow", 0.01, _mlflow, _read_table, "MLflow folders"),
        Target("wandb", 0.01, _wandb, _read_table, "W&B folders"),
        Target("tensorboard", 0.006, _tensorboard, _read_table, "TensorBoard event files"),
        Target("verb", 0.004, _verb, _run_verb, "whole verbs with spoilt options"),
    )
}
