"""The way of an event, hop by hop: what works, what does not, and what to do about it."""

from collections.abc import Callable, Iterator
from typing import Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error as DatabaseError
from django.urls import NoReverseMatch, reverse

from taskbell.management.database import first_line
from taskbell.management.hops.canary import send_canary
from taskbell.management.hops.door import Door, Shut
from taskbell.management.hops.finding import Finding
from taskbell.management.hops.here import (
    configuration,
    look_at_clock,
    look_at_database,
    look_at_forgetting,
    look_at_journal,
    look_at_outbox,
    look_at_queues,
    look_at_server,
    look_at_wakeup,
    look_at_workers,
)
from taskbell.management.hops.session import signed_in

#: Where `serve` listens unless it is told otherwise.
USUAL_ORIGIN: Final = "http://127.0.0.1:8001"

HOPS: Final[tuple[Callable[[str], Finding | None], ...]] = (
    look_at_journal,
    look_at_clock,
    look_at_outbox,
    look_at_forgetting,
    look_at_wakeup,
    look_at_queues,
    look_at_workers,
    look_at_server,
)


def examine(alias: str, url: str | None = None, user: AbstractBaseUser | None = None) -> Iterator[Finding]:
    """Yield what every hop is like, in the order of an event's way.

    `url` is where browsers read streams; as `user` the doctor signs in to try their own one.
    """
    yield from configuration()
    database = look_at_database(alias)
    yield database
    if database.grade == "FAIL":
        return
    for hop in HOPS:
        try:
            finding = hop(alias)
        except DatabaseError as error:
            finding = _refused(hop.__name__.removeprefix("look_at_"), error)
        if finding is not None:
            yield finding
    try:
        yield from _the_way(alias, url, user)
    except DatabaseError as error:
        yield _refused("tick", error)


def _the_way(alias: str, url: str | None, user: AbstractBaseUser | None) -> Iterator[Finding]:
    """Yield what the way of a test event is like: through the door if it is open, else as far as it goes."""
    door = Door(url or USUAL_ORIGIN + _prefix())
    try:
        yield from door.knock()
        if user is not None:
            with signed_in(user) as cookie:
                yield from door.enter(cookie)
        with door.open() as stream:
            yield Finding("ok", "stream", f"it opens, neither gathered nor compressed ({stream.took})")
            yield from send_canary(alias, stream)
    except Shut as shut:
        yield shut.finding if url else _not_told(door.url, shut.finding)
        yield from send_canary(alias, None)


def _not_told(url: str, found: Finding) -> Finding:
    """Nobody said where the streams are: that they are not where they usually are is no failure."""
    text = f"not tried: at {url}, where `serve` usually is, {found.text}"
    return Finding("look", found.hop, text, "Give the address that browsers use: --url https://mysite.example/events/")


def _prefix() -> str:
    try:
        return reverse("taskbell-events:own")
    except NoReverseMatch:
        return "/events/"  # a check has complained already


def _refused(hop: str, error: Exception) -> Finding:
    return Finding("FAIL", hop, first_line(error), "Look at the database.")
