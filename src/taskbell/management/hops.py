"""The way of an event, hop by hop: what works, what does not, and what to do about it."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections

from taskbell.checks import TAG
from taskbell.conf import current
from taskbell.management.database import first_line, trouble_with
from taskbell.management.verbs.status import read_status
from taskbell.models import Log, Outbox
from taskbell.store.connection import adopt
from taskbell.store.head import create_head
from taskbell.store.outbox import EVENT, insert
from taskbell.store.tick import Moved, NoHead, Ticker
from taskbell.wakeups import configured, kind

# Nobody may read it, and `tail` does not show it.
CANARY_CHANNEL: Final = "taskbell:doctor"
# A running gateway looks every POLL seconds; one more for a busy machine.
POLLS_TO_WAIT: Final = 2
# A backlog may lie before the canary; a head that somebody else holds is let go within two seconds.
TICKING_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.05
# Longer than a server may take to answer, and its probe after it.
HEARING_SECONDS: Final = 4.0

Grade = Literal["ok", "look", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a hop is like; `advice` says what to do unless it is fine."""

    grade: Grade
    hop: str
    text: str
    advice: str = ""


def examine(alias: str) -> Iterator[Finding]:
    """Yield what every hop is like, in the order of an event's way."""
    yield from configuration()
    database = look_at_database(alias)
    yield database
    if database.grade == "FAIL":
        return
    for hop in HOPS:
        try:
            finding = hop(alias)
        except DatabaseError as error:
            finding = Finding("FAIL", hop.__name__.removeprefix("look_at_"), first_line(error), "Look at the database.")
        if finding is not None:
            yield finding


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


def look_at_tick(alias: str) -> Finding:
    """Publish a canary and see it numbered: by a running gateway, or by a tick of our own."""
    canary = Outbox(kind=EVENT, channel=CANARY_CHANNEL, type="canary", payload=f'{{"at":"{secrets.token_hex(8)}"}}')
    insert([canary])
    if _is_numbered(canary, alias, seconds=POLLS_TO_WAIT * current().POLL):
        return Finding("ok", "tick", "a running gateway numbered a test event")
    # A gateway ticks in a thread of its own too, on a connection with settings of its own.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_tick, alias, canary).result()
    if _is_numbered(canary, alias, seconds=0):
        return Finding(
            "look",
            "tick",
            "no gateway numbered a test event in time, so the doctor did",
            "Start one: manage.py taskbell serve",
        )
    Outbox.objects.using(alias).filter(payload=canary.payload).delete()
    return Finding(
        "FAIL",
        "tick",
        f"a test event was not numbered within {TICKING_SECONDS:.0f} s",
        "Somebody holds the lock of the head: look for a frozen gateway, or a transaction left open in the database.",
    )


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


def _is_numbered(canary: Outbox, alias: str, seconds: float) -> bool:
    log = Log.objects.using(alias).filter(channel=CANARY_CHANNEL, payload=canary.payload)
    deadline = time.monotonic() + seconds
    while not (found := log.exists()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return found


def _tick(alias: str, canary: Outbox) -> None:
    adopt(alias)
    ticker, deadline = Ticker(alias), time.monotonic() + TICKING_SECONDS
    try:
        while not _is_numbered(canary, alias, seconds=0) and time.monotonic() < deadline:
            answer = ticker.tick()
            if isinstance(answer, NoHead):
                create_head(alias)
            elif not isinstance(answer, Moved) or not answer.rows:
                time.sleep(LOOK_SECONDS)
    finally:
        connections.close_all()


HOPS: Final[tuple[Callable[[str], Finding | None], ...]] = (
    look_at_journal,
    look_at_outbox,
    look_at_tick,
    look_at_wakeup,
    look_at_server,
)
