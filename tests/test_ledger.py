"""The run database: nothing lost, nothing doubled, faults said in one line."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss import api
from isoloss.errors import IsolossError, LedgerError, TableError
from isoloss.execution.driver import drive
from isoloss.execution.engine import Ended
from isoloss.execution.worker import carry_out
from isoloss.ledger import claims, store
from isoloss.ledger.external import read_runs
from isoloss.ledger.store import Ledger, new_owner
from isoloss.planning.propose import members, propose
from isoloss.runs import Amount, Outcome


class InProcess:
    """A real engine of one slot in this process: runs are carried out, not faked."""

    slots = 1

    def __init__(self):
        self._queue, self.trained = [], []

    def start(self, plugins):
        pass

    def submit(self, job):
        self._queue.append(job)

    def collect(self, timeout):
        if not self._queue:
            threading.Event().wait(0.01)
            return []
        job = self._queue.pop(0)
        self.trained += [spec.run_id for spec in job.specs]
        outcomes, environment = carry_out(job)
        return [[Ended(s, o, environment) for s, o in zip(job.specs, outcomes, strict=True)]]

    def notices(self):
        return []

    def recorded(self, spec):
        pass

    def stop(self):
        self._queue.clear()


def run_ridge(opened, url, engine=None):
    ledger = Ledger(str(url))
    ledger.open_study(opened.study, opened.text, str(opened.path))
    table = drive(opened.study, ledger, engine or InProcess(), opened.plugins)
    ledger.close()
    return table.reproducible()


def test_a_second_run_trains_nothing_and_gives_the_same_table(ridge, tmp_path):
    opened, engine = api.open_study(ridge), InProcess()
    first = run_ridge(opened, tmp_path / "l.sqlite")
    assert run_ridge(opened, tmp_path / "l.sqlite", engine).equals(first)
    assert engine.trained == []


def test_two_ledgers_of_one_study_agree_bit_for_bit(ridge, tmp_path):
    opened = api.open_study(ridge)
    assert run_ridge(opened, tmp_path / "a.sqlite").equals(run_ridge(opened, tmp_path / "b.sqlite"))


def test_two_drivers_share_the_work_and_double_nothing(ridge, tmp_path):
    assert_two_drivers_share(api.open_study(ridge), tmp_path / "l.sqlite")


def assert_two_drivers_share(opened, url):
    """Driven twice at once into one ledger, a study is trained once."""
    engines, tables = [InProcess(), InProcess()], {}

    def one(i):
        tables[i] = run_ridge(opened, url, engines[i])

    threads = [threading.Thread(target=one, args=(i,)) for i in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert tables[0].equals(tables[1])
    trained = engines[0].trained + engines[1].trained
    assert len(trained) == len(set(trained)) == tables[0].height


def test_drivers_that_open_a_new_ledger_at_once_all_get_it(tmp_path):
    for trial in range(40):  # without the wait for it, one in twenty is refused
        assert_four_open_at_once(tmp_path / f"{trial}.sqlite")


def assert_four_open_at_once(path):
    """Four processes open a ledger at the same moment, and none is refused."""
    context = multiprocessing.get_context("fork")
    together, said = context.Barrier(4), context.SimpleQueue()
    openers = [context.Process(target=_open_and_say, args=(str(path), together, said)) for _ in range(4)]
    for opener in openers:
        opener.start()
    assert [said.get() for _ in openers] == [""] * 4
    for opener in openers:
        opener.join()


def _open_and_say(path, together, said):
    together.wait()
    try:
        Ledger(path).close()
        said.put("")
    except LedgerError as error:
        said.put(str(error))


def alone(study, ledger):
    """Every run that is wanted, each in a stack of its own."""
    return {r.spec.run_id: frozenset((r.spec.run_id,)) for r in propose(study, ledger.table(study)).runs}


def test_a_record_round_trips_with_its_curve(ridge, tmp_path):
    opened, ledger = api.open_study(ridge), Ledger(str(tmp_path / "l.sqlite"))
    study = opened.study
    ledger.open_study(study, opened.text, "x")
    table = ledger.table(study)
    ledger.enqueue(study, members(study, table))
    (run_id,) = ledger.claim(study, new_owner(), 1, alone(study, ledger))[0]
    curve = {"step": [1.0, 2.0], "train_flops": [0.1, 0.2], "train_loss": [1 / 3, float("inf")]}
    outcome = Outcome("finished", {"validation": 1 / 3}, curve, {"train_flops": Amount(0.1 + 0.2, "counted")})
    assert ledger.finish(run_id, outcome, {"cpu": "x"})
    row = ledger.table(study).frame.row(0, named=True)
    assert (row["validation"], row["train_flops"], row["test"]) == (1 / 3, 0.1 + 0.2, None)
    assert ledger.curves(study)[run_id] == ledger.curve(run_id) == curve
    again = Outcome("finished", {"validation": 9.0}, {}, {})
    assert not ledger.finish(run_id, again, {}), "a finished run is never overwritten"
    assert ledger.table(study).frame.row(0, named=True)["validation"] == 1 / 3


def test_the_claims_of_a_dead_driver_are_free_at_once_and_those_of_a_live_one_are_not(ridge, tmp_path):
    opened, url = api.open_study(ridge), str(tmp_path / "l.sqlite")
    ledger, study = Ledger(url), opened.study
    ledger.open_study(study, opened.text, "x")
    ledger.enqueue(study, members(study, ledger.table(study)))
    each = alone(study, ledger)
    wanted = len(each)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    ghost = f"{store.machine_name()}|{dead.stdout.strip()}|ffffffff"
    mine = f"{store.machine_name()}|{os.getpid()}|00000000"
    assert len(ledger.claim(study, ghost, wanted, each)) == wanted
    assert len(ledger.claim(study, mine, 2, each)) == 2
    assert len(ledger.claim(study, f"{store.machine_name()}|{os.getpid()}|11111111", 99, each)) == wanted - 2
    assert ledger.claim(study, new_owner(), 99, each) == []
    ledger.release(mine)
    assert len(ledger.claim(study, new_owner(), 99, each)) == 2


def test_an_owner_is_dead_once_its_beat_has_not_risen_for_a_lease(ridge, tmp_path, monkeypatch):
    opened, ledger = api.open_study(ridge), Ledger(str(tmp_path / "l.sqlite"))
    study = opened.study
    ledger.open_study(study, opened.text, "x")
    ledger.enqueue(study, members(study, ledger.table(study)))
    (only,) = list(alone(study, ledger))[:1]
    monkeypatch.setattr(claims, "LEASE", 0.2)
    first = ledger.claim(study, "elsewhere|1|a", 1, {only: frozenset((only,))})
    other = Ledger(str(tmp_path / "l.sqlite"))

    def second():
        return other.claim(study, "elsewhere|2|b", 1, {only: frozenset((only,))})

    assert second() == [], "nobody is dead at first sight"
    for _ in range(4):
        time.sleep(0.1)
        ledger.renew("elsewhere|1|a")
        assert second() == []
    time.sleep(0.3)
    assert second() == first
    ledger.renew("elsewhere|1|a")  # it was only slow: it is known again, and what it lost it has lost
    ledger.release("elsewhere|1|a")
    assert ledger.progress_of(study.study_id)["running"][0] == 1
    ledger.close()
    other.close()


def test_runs_of_a_stack_are_claimed_and_recorded_together(ridge, tmp_path):
    opened, ledger = api.open_study(ridge), Ledger(str(tmp_path / "l.sqlite"))
    study = opened.study
    ledger.open_study(study, opened.text, "x")
    ledger.enqueue(study, members(study, ledger.table(study)))
    one, two, three, *_ = sorted(alone(study, ledger))
    pair, single = frozenset((one, two)), frozenset((three,))
    stacks = {one: pair, two: pair, three: single}
    owner = new_owner()
    assert ledger.claim(study, owner, 1, {one: pair, two: pair}) == [pair]
    assert ledger.claim(study, new_owner(), 9, stacks) == [single], "the other stack is taken"
    bad = Outcome("finished", {"validation": 1.0}, {}, {}, notes=(object(),))  # type: ignore[arg-type]
    good = Outcome("finished", {"validation": 1.0}, {}, {})
    with pytest.raises(Exception):  # noqa: B017
        ledger.finish_all([(one, good, {}), (two, bad, {})])
    assert ledger.table(study).frame.height == 0, "all of a stack or none of it"
    assert ledger.finish_all([(one, good, {}), (two, good, {})]) == [True, True]


def test_a_newer_ledger_is_refused_untouched(tmp_path):
    path = tmp_path / "l.sqlite"
    Ledger(str(path)).close()
    with sqlite3.connect(path) as db:
        db.execute("update meta set value = '999' where key = 'schema_version'")
    with pytest.raises(LedgerError, match=r"newer isoloss.*pip install -U isoloss"):
        Ledger(str(path))
    with sqlite3.connect(path) as db:
        assert db.execute("select value from meta").fetchone() == ("999",)


@pytest.mark.parametrize("content", [b"not a database at all, just text" * 50, b"\x00" * 5000])
def test_a_file_that_is_no_ledger_is_refused_untouched(tmp_path, content):
    path = tmp_path / "l.sqlite"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="damaged or not a ledger"):
        Ledger(str(path))
    assert path.read_bytes() == content


def test_a_full_disk_is_one_line_and_loses_nothing(ridge, tmp_path):
    """SQLite's own page limit makes the very error that a full disk makes."""
    opened, url = api.open_study(ridge), tmp_path / "l.sqlite"
    whole = run_ridge(opened, tmp_path / "whole.sqlite")
    ledger = Ledger(str(url))
    ledger.open_study(opened.study, opened.text, "x")
    from sqlalchemy import event

    def cap(connection, _):
        pages = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count={pages + 6}")

    event.listen(ledger.database._engine, "connect", cap)
    ledger.database._engine.dispose()
    with pytest.raises(LedgerError, match=r"disk is full.*finished runs are kept"):
        drive(opened.study, ledger, InProcess(), opened.plugins)
    ledger.close()
    kept = Ledger(str(url))
    before = kept.table(opened.study).frame.height
    kept.close()
    engine = InProcess()
    assert run_ridge(opened, url, engine).equals(whole)
    assert len(engine.trained) == whole.height - before


def test_a_failed_run_says_why_counts_as_a_miss_and_is_tried_again(ridge, tmp_path):
    plugin = ridge.parent / "ridge.py"
    flag = tmp_path / "broken"
    flag.touch()
    source = plugin.read_text().replace(
        "        n = round(spec.budget)\n",
        f"        import os\n        if os.path.exists({str(flag)!r}) and spec.seed == 2:\n"
        "            raise RuntimeError('no more\\nluck')\n        n = round(spec.budget)\n",
    )
    plugin.write_text(source)
    opened = api.open_study(ridge)
    table = run_ridge(opened, tmp_path / "l.sqlite")
    assert table.filter(pl.col("status") == "failed").height == 3
    assert "RuntimeError: no more luck" in api.status(ridge, ledger=str(tmp_path / "l.sqlite"))[0]["errors"][0]
    flag.unlink()
    engine = InProcess()
    table = run_ridge(opened, tmp_path / "l.sqlite", engine)
    assert table.filter(pl.col("status") != "finished").height == 0 and len(engine.trained) == 3


# -- anybody's tables ---------------------------------------------------------------------------------------------

CSV = "arm,flops,loss,seed\n" + "".join(
    f"{arm},{c},{shift + 30 * c**-0.1},{s}\n"
    for arm, shift in (("a", 2.0), ("b", 1.9))
    for c in (1e9, 1e10, 1e11)
    for s in (1, 2)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("empty",)),
        ("arm,flops,loss\n", ("empty",)),
        ("x,y\n1,2\n", ("no column looks like the arm", "--arm-column", "x, y")),
        (CSV.replace("1000000000.0", "-5", 1), ("not a positive amount",)),
        (CSV.replace("1000000000.0", "many", 1), ("row 1 is not a number", "many")),
    ],
)
def test_a_wrong_table_is_named_in_one_line(tmp_path, text, words):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(TableError) as caught:
        api.gain(path, "a", "b")
    for word in (str(path), *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_folder_and_corrupt_parquet(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TableError):
            api.gain(path, "a", "b")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(TableError, match=r"x\.parquet"):
        api.gain(tmp_path / "x.parquet", "a", "b")


def test_an_absent_baseline_suggests_the_nearest(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(CSV.replace("a,", "adamw,"))
    with pytest.raises(IsolossError, match=r"unknown arm 'adam'; did you mean adamw\?"):
        api.gain(path, "adam", "b")


def test_a_score_is_not_taken_for_a_loss(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [
        f"{a},{n},{1 - k * n**-0.5},{s}" for a, k in (("a", 1.0), ("b", 0.8)) for n in (50, 200, 800) for s in (1, 2)
    ]
    path.write_text("\n".join(["model,samples,top1_accuracy,seed", *rows]))
    with pytest.raises(TableError, match=r"top1_accuracy: looks like a score.*--best"):
        api.gain(path, "a", "b", quality="top1_accuracy")
    curve = api.gain(path, "a", "b", quality="top1_accuracy", best=1.0, draws=400)
    assert curve.verdict.level == "gain" and curve.verdict.gain == pytest.approx(0.8**-2, rel=0.02)
    with pytest.raises(TableError, match=r"reaches the best value 0\.5"):
        api.gain(path, "a", "b", quality="top1_accuracy", best=0.5)


def test_a_sweep_or_a_copied_row_is_not_taken_for_seeds(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(CSV + CSV.splitlines()[1] + "\n")
    with pytest.raises(TableError, match=r"rows 1, 13 are exactly alike; drop the copies"):
        api.gain(path, "a", "b")


def test_a_fit_without_resamples_has_null_intervals(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(CSV)
    answer = api.law_json(api.fit(path, arm="a", bootstrap=0))
    assert all(p["interval"] == [None, None] for p in answer["parameters"].values())


def test_csv_and_parquet_and_renamed_columns_give_one_answer(tmp_path):
    (tmp_path / "runs.csv").write_text(CSV)
    pl.read_csv(tmp_path / "runs.csv").write_parquet(tmp_path / "runs.parquet")
    renamed = CSV.replace("arm,flops,loss,seed", "who,cost,badness,dice", 1)
    (tmp_path / "r.csv").write_text(renamed)
    first = api.gain(tmp_path / "runs.csv", "a", "b", draws=400)
    assert api.gain(tmp_path / "runs.parquet", "a", "b", draws=400).points == first.points
    told = {"resource": "cost", "quality": "badness", "arm_column": "who", "seed_column": "dice"}
    assert api.gain(tmp_path / "r.csv", "a", "b", draws=400, **told).points == first.points


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(data)
    try:
        read_runs(path)
    except IsolossError as error:
        assert len(str(error).splitlines()) == 1
