"""What can be seen from here: settings, database, outbox, clock, wakeup, workers."""

import time
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from typing import Final

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Min

from taskbell.checks import TAG
from taskbell.conf import current
from taskbell.engines.base import unreachable
from taskbell.management.database import first_line, trouble_with
from taskbell.management.hops.finding import Finding, Grade
from taskbell.management.verbs.status import read_status
from taskbell.models import Forgotten, Worker
from taskbell.runs.writer import BEATS_A_LEASE
from taskbell.store.clock import moment, read_clock
from taskbell.wakeups import configured, kind

LOOK_SECONDS: Final = 0.05
# Longer than a server may take to answer, and its probe after it.
HEARING_SECONDS: Final = 4.0
# Ages and dates may be wrong by this without anybody noticing.
CLOCK_SECONDS: Final = 5.0
# A million events take a few minutes.
ERASED_WITHIN_SECONDS: Final = 900.0
# A beat that is late by as much on a busy machine is still a beat.
LATE_BEAT_SECONDS: Final = 2.0


def configuration() -> Iterator[Finding]:
    """Yield what the system checks say: settings, URLconf, open files, uvicorn's version."""
    found = checks.run_checks(tags=[TAG], include_deployment_checks=True)
    for message in found:
        grade: Grade = "FAIL" if message.is_serious() else "look"
        yield Finding(grade, "settings", f"{message.msg} ({message.id})", message.hint or "")
    if not found:
        yield Finding("ok", "settings", "no system check complains")


def look_at_database(alias: str) -> Finding:
    """Tell whether the database answers and has the tables."""
    if trouble := trouble_with(alias):
        return Finding("FAIL", "database", trouble.text, trouble.advice)
    return Finding("ok", "database", f"{alias!r} is {connections[alias].display_name} and has all tables")


def look_at_journal(alias: str) -> Finding | None:
    """Tell whether SQLite's readers and its writer get along; nothing to tell elsewhere."""
    if connections[alias].vendor != "sqlite":
        return None
    with connections[alias].cursor() as cursor:
        mode = cursor.execute("pragma journal_mode").fetchone()[0]
    if mode in {"wal", "memory"}:
        return Finding("ok", "journal", f"{mode}: streams read while others write")
    return Finding(
        "look",
        "journal",
        f"{mode}: every reader waits for the writer, and the writer for readers",
        f'Write into the OPTIONS of DATABASES[{alias!r}]: "init_command": "PRAGMA journal_mode=WAL;".',
    )


def look_at_outbox(alias: str) -> Finding:
    """Tell whether too much waits, or something was set aside."""
    status = read_status(alias)
    text = f"{status.outbox} rows wait, {sum(status.failed.values())} are set aside"
    if status.over:
        return Finding(
            "FAIL", "outbox", f"{text}; OUTBOX_LIMIT is {status.outbox_limit}", "Events are not moved: see `tick`."
        )
    if status.failed:
        advice = f"The gateway's log says why rows of {', '.join(status.failed)} could not be folded."
        return Finding("look", "outbox", text, advice)
    return Finding("ok", "outbox", text)


def look_at_forgetting(alias: str) -> Finding | None:
    """Tell whether somebody should be erased by now; nothing to tell while nobody waits for it."""
    waiting = read_status(alias).forgetting
    if not waiting:
        return None
    began = Forgotten.objects.using(alias).filter(erased_at=None).aggregate(first=Min("forgotten_at"))["first"]
    if began is None or (moment(read_clock(alias)) - began).total_seconds() < ERASED_WITHIN_SECONDS:
        return Finding("ok", "forgetting", f"{waiting} people are being erased")
    return Finding(
        "look",
        "forgetting",
        f"{waiting} people are not erased yet, the first since {began:%Y-%m-%d %H:%M}",
        "A running gateway does it: look at its log, and whether `tick` below finds one.",
    )


def look_at_clock(alias: str) -> Finding | None:
    """Tell whether this machine's clock agrees with the database's; nothing to tell where it is the same."""
    if connections[alias].vendor != "postgresql":
        return None
    apart = abs(read_clock(alias) - time.time())
    if apart < CLOCK_SECONDS:
        return Finding("ok", "clock", f"{apart:.1f} s from the database's")
    return Finding("look", "clock", f"{apart:.0f} s from the database's", CLOCK_ADVICE)


CLOCK_ADVICE: Final = "Set both by NTP: people are shown wrong times."


def look_at_wakeup(alias: str) -> Finding:
    """Tell whether rings are heard; without them events come within POLL seconds."""
    try:
        chosen, wakeup = kind(alias), configured(alias)
    except ImproperlyConfigured as error:
        return Finding("FAIL", "wakeup", str(error), 'Leave WAKEUP out, or write "auto".')
    if chosen == "poll":
        return Finding("ok", "wakeup", f"poll: gateways look every {current().POLL} s")
    with closing(wakeup.listen()) as listener:
        deadline = time.monotonic() + HEARING_SECONDS
        listener.wait(0)
        while listener.deaf and time.monotonic() < deadline:
            listener.wait(LOOK_SECONDS)
        reason = listener.reason
    if reason:
        return Finding(
            "FAIL", "wakeup", f"{chosen}: {reason}", f"Until this is repaired events take up to {current().POLL} s."
        )
    return Finding("ok", "wakeup", f"{chosen}: rings are heard")


def look_at_server(alias: str) -> Finding:
    """Tell whether this installation can run `serve`; which version is for the checks."""
    if find_spec("uvicorn") and find_spec("httptools"):
        return Finding("ok", "server", "uvicorn is installed")
    return Finding(
        "look", "server", "uvicorn is not installed here", "To run gateways here: pip install 'taskbell[serve]'"
    )


def look_at_queues(alias: str) -> Finding | None:
    """Tell whether the queues of tasks can be reached; nothing to tell where people see no task."""
    if not current().TASKS:
        return None
    if troubles := unreachable():
        text = "; ".join(f"{name} cannot be reached: {first_line(error)}" for name, error in troubles.items())
        return Finding("look", "queue", text, "Does the broker run? Until then nothing is enqueued or cancelled.")
    return Finding("ok", "queue", "the broker can be reached")


def look_at_workers(alias: str) -> Finding | None:
    """Tell whether a worker shows that it lives; nothing to tell where there never was one."""
    # Rows of dead ones stay for a while, so one that beats is all that can be waited for.
    workers = Worker.objects.using(alias).order_by("id").values_list("id", "beat")
    before = [*workers]
    if not before:
        return None
    deadline = time.monotonic() + current().LEASE / BEATS_A_LEASE + LATE_BEAT_SECONDS
    while time.monotonic() < deadline:
        if [*workers.all()] != before:
            return Finding("ok", "workers", "one shows that it lives")
        time.sleep(LOOK_SECONDS)
    advice = "Start one, or look at its log. What is enqueued waits."
    return Finding("look", "workers", "none shows that it lives", advice)
