"""What operators watch, in the text format of Prometheus, which is a page of code and so no dependency.

No label names a person, a channel or an address.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, Literal

from taskbell.counts import counted
from taskbell.runs import header
from taskbell.runs.writer import writer
from taskbell.store import backlog

if TYPE_CHECKING:
    from taskbell.gateway.app import Gateway

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# What was seen longer ago is not told any more: the database is away.
STALE_SECONDS: Final = 60.0

#: Name, value of the metric's label ("" if it has none), number. As plain as JSON, to travel between processes.
Sample = tuple[str, str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: `taskbell_` and its name; `label` is the name of its label."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    label: str = ""

    @property
    def is_bare_counter(self) -> bool:
        """Whether it counts one thing, without a label."""
        return self.kind == "counter" and not self.label


METRICS: Final = (
    Metric("build_info", "gauge", "Always 1; which version of Taskbell this is.", "version"),
    Metric("ready", "gauge", "1 while new streams are welcome."),
    Metric("event_loop_stood_still_seconds", "gauge", "For how long the event loop has not turned."),
    Metric("streams", "gauge", "Open streams."),
    Metric("streams_behind", "gauge", "Open streams that have not taken everything yet."),
    Metric("streams_opened_total", "counter", "Streams that were let in."),
    Metric("streams_closed_total", "counter", "Streams that ended, in whatever way."),
    Metric("streams_cut_total", "counter", "Streams that were cut: stalled readers, broken connections.", "reason"),
    Metric("byes_total", "counter", "Streams that were told `bye`.", "reason"),
    Metric("resets_total", "counter", "Times a stream was told `reset`.", "reason"),
    Metric("requests_total", "counter", "Answers to stream requests; 200 is a stream.", "status"),
    Metric("writes_total", "counter", "Writes of events to streams; frames of one moment leave in one write."),
    Metric("replay_rounds_total", "counter", "Looks at the log for streams that missed something, many in one."),
    Metric("window_bytes", "gauge", "Recent frames in memory."),
    Metric("head", "gauge", "The newest number that this gateway has handed to its streams."),
    Metric("log_head", "gauge", "The newest number in the log."),
    Metric("log_floor", "gauge", "The oldest number that can be replayed."),
    Metric("outbox_rows", "gauge", "Rows that wait for the tick."),
    Metric("outbox_oldest_seconds", "gauge", "For how long the oldest of them has waited."),
    Metric("outbox_set_aside_rows", "gauge", "Rows that could not be folded."),
    Metric("ticks_total", "counter", "Ticks of this gateway that moved rows."),
    Metric("tick_seconds_total", "counter", "Time that those took."),
    Metric("events_numbered_total", "counter", "Events that those numbered."),
    Metric("events_dropped_total", "counter", "Events for accounts that nobody could see within a minute."),
    Metric("notifications_total", "counter", "Notifications that this gateway has put into inboxes."),
    Metric("notifications_doubled_total", "counter", "Notifications that were there already, by their key."),
    Metric("signals_total", "counter", "Signals that this gateway has sent to receivers.", "signal"),
    Metric("receiver_failures_total", "counter", "Receivers of those that raised."),
    Metric("wakeup_deaf", "gauge", "1 while rings are not heard, and events take up to POLL seconds.", "kind"),
    Metric("rings_heard_total", "counter", "Rings that woke this gateway."),
    Metric("rings_sent_total", "counter", "Rings by this process."),
    Metric("reaped_total", "counter", "What the reaper told of runs.", "kind"),
    Metric(
        "push_messages_total", "counter", "Web Push: taken by the service, given up, for a browser gone.", "outcome"
    ),
    Metric("facts_waiting", "gauge", "Facts of tasks in this process that are not written yet."),
    Metric("facts_dropped_total", "counter", "Facts of tasks in this process that were never written."),
    Metric("headers_forged_total", "counter", "Tasks with a header that this site did not sign."),
    Metric("loop_failures_total", "counter", "Failed steps of background loops.", "loop"),
)


def samples(gateway: "Gateway | None" = None) -> list[Sample]:
    """Return what this process has to tell, and its gateway if it is one; may be asked from any thread."""
    found = [*_of_process(), *_of_backlog()]
    if gateway is not None:
        found += [(name, label, float(value)) for (name, label), value in gateway.gauges().items()]
    counts = counted()
    found += [(name, label, value) for (name, label), value in counts.items()]
    told = {name for name, _, _ in found}
    # What was never counted is 0 and not unknown: else the first one would be missing from every rate.
    return found + [(metric.name, "", 0) for metric in METRICS if metric.is_bare_counter and metric.name not in told]


def as_text(processes: Sequence[tuple[str, Sequence[Sample]]] | None = None) -> str:
    """Return the page that Prometheus reads: of this process, or of several `(worker, samples)`."""
    told = processes if processes is not None else [("", samples())]
    return "".join(line for metric in METRICS for line in _lines(metric, told))


def _lines(metric: Metric, processes: Sequence[tuple[str, Sequence[Sample]]]) -> Iterator[str]:
    found = [(worker, label, value) for worker, told in processes for name, label, value in told if name == metric.name]
    if not found:
        return
    yield f"# HELP taskbell_{metric.name} {metric.help}\n# TYPE taskbell_{metric.name} {metric.kind}\n"
    for worker, label, value in found:
        labels = [f'{name}="{_escaped(text)}"' for name, text in (("worker", worker), (metric.label, label)) if text]
        yield f"taskbell_{metric.name}{'{' + ','.join(labels) + '}' if labels else ''} {value:.15g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _of_process() -> Iterator[Sample]:
    yield "build_info", _version(), 1
    yield "facts_waiting", "", writer.waiting
    yield "facts_dropped_total", "", writer.dropped
    yield "headers_forged_total", "", header.forgeries


def _of_backlog() -> Iterator[Sample]:
    seen = backlog.newest()
    if seen is None or time.monotonic() - seen.measured_at > STALE_SECONDS:
        return
    yield "log_head", "", seen.head
    yield "log_floor", "", seen.floor
    yield "outbox_rows", "", seen.rows
    yield "outbox_oldest_seconds", "", seen.oldest_seconds
    yield "outbox_set_aside_rows", "", seen.set_aside


def _version() -> str:
    try:
        return version("taskbell")
    except PackageNotFoundError:
        return "unknown"
