"""Trackers: sent each run when it ends, or all that a ledger holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from isoloss.errors import IsolossError
from isoloss.sinks import Sink, sink_of

if TYPE_CHECKING:
    from isoloss.ledger.store import Ledger
    from isoloss.sinks.stream import Stream
    from isoloss.study import Study


@contextmanager
def sending(study: Study, ledger: Ledger, sinks: Sequence[Sink], observer: Any) -> Iterator[Any]:
    """An observer for the driver that sends each run to `sinks` when it ends and passes all on to `observer`.

    At the end they are sent what else the ledger holds of the study; where the study is stopped, nothing more.
    """
    if not sinks:
        yield observer
        return
    from isoloss.execution.driver import Observer
    from isoloss.sinks.records import ended_ids
    from isoloss.sinks.stream import Streaming

    observer = observer or Observer()
    streams = _streams(ledger, study.study_id, study.name, sinks, observer.notice)
    yield Streaming(observer, streams)
    held = ended_ids(ledger, study.study_id)
    for stream in streams:
        for run_id in held:
            stream.put(run_id)
    for stream in streams:
        stream.close()


def send(
    study: str | os.PathLike[str] | None = None,
    to: Sequence[str] = (),
    *,
    ledger: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Send what a ledger holds of a study (its file, name or id; None: the last one opened) to each tracker of `to`.

    Of each tracker: runs written, and held by it before. `progress(done, all)` is called now and then. Raises
    `IsolossError` where a tracker fails, after the others have been sent all; what it has taken by then it keeps.
    """
    from isoloss.ledger.store import Ledger
    from isoloss.sinks.records import ended_ids
    from isoloss.verbs.studies import ledger_url
    from isoloss.verbs.watching import filed_study

    sinks = [sink_of(text) for text in to]
    if not sinks:
        raise IsolossError("--to", "names no tracker", "such as --to tensorboard:logs")
    store = Ledger(ledger_url(ledger), create=False)
    try:
        filed = filed_study(store, study)
        streams = _streams(store, filed["study_id"], filed["name"], sinks, lambda line: None)
        for run_id in ended_ids(store, filed["study_id"]):
            for stream in streams:
                stream.put(run_id)
        for stream in streams:
            stream.close(progress)
    finally:
        store.close()
    for stream in streams:
        if stream.error:
            raise IsolossError(
                f"--to {stream.sink.name}",
                f"{stream.error} ({stream.left} of {stream.given} runs not sent)",
                "send again when it answers: nothing is doubled",
            )
    return [{"to": s.sink.name, "written": s.written, "held": s.held} for s in streams]


def _streams(
    ledger: Ledger, study_id: str, name: str, sinks: Sequence[Sink], said: Callable[[str], None]
) -> list[Stream]:
    from isoloss.sinks.records import records
    from isoloss.sinks.stream import Stream

    return [Stream(sink, name, partial(records, ledger, study_id, name), said) for sink in sinks]
