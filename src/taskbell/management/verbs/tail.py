import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from django.core.management.base import CommandError, OutputWrapper
from django.db import router

from taskbell.conf import current
from taskbell.exceptions import InvalidCursor
from taskbell.ground import sse
from taskbell.ground.cursor import Cursor
from taskbell.ground.events import is_channel, namespace
from taskbell.management.verbs.base import Verb
from taskbell.models import Log
from taskbell.store.head import create_head
from taskbell.store.log import LogRow, Lost, place_of_head, read_after
from taskbell.wakeups import configured

# Its channels are between gateways: what they say of people is for nobody's screen.
OWN_NAMESPACE: Final = "taskbell"
STDOUT: Final = 1

#: An event, or that some may be missing, with the place up to which everything was told.
Item = tuple[Cursor, LogRow | Lost]


class Tail(Verb):
    help = "Print events as they are numbered, one a line; stop it with Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        start = parser.add_mutually_exclusive_group()
        start.add_argument("--after", metavar="CURSOR", help="Begin after this cursor instead of now.")
        start.add_argument("--from-start", action="store_true", help="Begin with the oldest event that is kept.")
        parser.add_argument("--channel", action="append", default=[], help="Only this channel; may be repeated.")
        parser.add_argument("--raw", action="store_true", help="Print frames as they are on the wire.")

    def run(
        self, out: OutputWrapper, *, after: str | None, from_start: bool, channel: list[str], raw: bool, **options: Any
    ) -> int:
        alias = router.db_for_write(Log)
        channels = frozenset(checked(name) for name in channel)
        try:
            items = replay(alias) if from_start else follow(newest(alias) if after is None else parsed(after), alias)
            for place, found in items:
                if is_shown(found, channels):
                    out.write(frame(place, found) if raw else line(place, found), ending="" if raw else "\n")
                    out.flush()
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            # `tail | head` has seen enough, and what Python flushes at its end must not complain again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return 0


def follow(place: Cursor, alias: str) -> Iterator[Item]:
    """Yield what comes after `place`, for ever."""
    with closing(configured(alias).listen()) as listener:
        while True:
            page = read_after(place, alias)
            if page is None:
                create_head(alias)
            elif isinstance(page, Lost):
                place = newest(alias)
                yield place, page
            else:
                for row in page.rows:
                    place = Cursor(place.log_id, row.seq, row.nonce)
                    yield place, row
                if not page.rows:
                    listener.wait(current().POLL)


def replay(alias: str) -> Iterator[Item]:
    """Yield the oldest event that is kept and what comes after it, for ever."""
    head = newest(alias)
    found = Log.objects.using(alias).order_by("seq").values_list(*LogRow._fields).first()
    if found is not None:
        row = LogRow(*found)
        head = Cursor(head.log_id, row.seq, row.nonce)
        yield head, row
    yield from follow(head, alias)


def newest(alias: str) -> Cursor:
    """Return the place of the newest event."""
    while (place := place_of_head(alias)) is None:
        create_head(alias)
    return place


def parsed(cursor: str) -> Cursor:
    """Return the cursor that was typed."""
    try:
        return Cursor.parse(cursor)
    except InvalidCursor as error:
        raise CommandError(f"{cursor!r} is no cursor. It is the first word of a line of `tail`.") from error


def checked(channel: str) -> str:
    """Return the channel that was typed if it may be shown."""
    if not is_channel(channel):
        raise CommandError(f"{channel!r} is not a channel. Write `namespace:name`, like public:news.")
    if namespace(channel) == OWN_NAMESPACE:
        raise CommandError(f"Channels of `{OWN_NAMESPACE}:` are between gateways and are not shown.")
    return channel


def is_shown(found: LogRow | Lost, channels: frozenset[str]) -> bool:
    """Tell whether to print it; blanked rows have nothing to show."""
    if isinstance(found, Lost):
        return True
    if found.channel is None or namespace(found.channel) == OWN_NAMESPACE:
        return False
    return not channels or found.channel in channels


def line(place: Cursor, found: LogRow | Lost) -> str:
    """Return it for people."""
    if isinstance(found, Lost):
        return f"{place}  reset: {found.reason}, so events may be missing here"
    return f"{place}  {found.channel}  {found.type}  {found.payload}"


def frame(place: Cursor, found: LogRow | Lost) -> str:
    """Return it as it is on the wire."""
    data = sse.reset(place, found.reason) if isinstance(found, Lost) else sse.frame(place, found.type, found.payload)
    return data.decode("ascii")


verb = Tail()
