"""Control events: what gateways are told of people's access, on a channel that no stream and no `tail` ever shows.

They are rows of the outbox like any event, so they are committed, or rolled back, with the change that they tell of.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final, Literal, get_args
from uuid import UUID

from django.db import router, transaction

from taskbell import faults
from taskbell.ground.events import encode_payload, recipient_channel
from taskbell.models import Log, Outbox
from taskbell.store.folds import Entry, Fold
from taskbell.store.forgotten import FORGET, forget
from taskbell.store.log import LogRow
from taskbell.store.outbox import EVENT, insert

CONTROL_CHANNEL: Final = "taskbell:control"
# Of no row: gateways themselves tell those who read it, staff with a look at the admin, that something happened.
ACTIVITY_CHANNEL: Final = "taskbell:activity"
# 128 bits: a session is named, and its key, which is the password of the hour, is not.
SESSION_NAME_LENGTH: Final = 32

#: A session ended; the account or its groups changed; the account is forgotten, and has no address any more.
Change = Literal["ended", "changed", "deleted"]


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """One change of access. `person` is the key of an account, None for everybody; `session` is a `session_name`.

    `channel` is the address that a forgotten account had.
    """

    change: Change
    person: str | None
    session: str | None = None
    channel: str | None = None


def session_name(key: str) -> str:
    """Return what stands for a session key wherever others may read: its hash."""
    return sha256(key.encode()).hexdigest()[:SESSION_NAME_LENGTH]


def tell(events: Sequence[ControlEvent], using: str) -> None:
    """INSERT under a savepoint of its own, in the transaction of the change, which is on the alias `using`."""
    alias = router.db_for_write(Outbox)
    if alias != using:  # accounts live in another database: whoever was told before its commit would look too early
        transaction.on_commit(lambda: _insert(events, alias), using=using, robust=True)
    else:
        _insert(events, alias)


def read(row: LogRow) -> ControlEvent | None:
    """Return the control event that a log row is, None where it is another's or cannot be read."""
    if row.channel != CONTROL_CHANNEL or row.type not in get_args(Change):
        return None
    try:
        told = json.loads(row.payload)
        # A gateway of an older version tells of no channel.
        return ControlEvent(row.type, told["person"], told["session"], told.get("channel"))  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError, AttributeError):
        faults.error("The control event %d cannot be read.", row.seq)
        return None


def forgotten_channels(rows: Iterable[LogRow]) -> set[str]:
    """Return the addresses that, by these rows, nobody has any more."""
    return {event.channel for row in rows if (event := read(row)) is not None and event.channel is not None}


def newest(alias: str, most: int) -> list[LogRow]:
    """Return the newest control events, at most so many, ascending."""
    rows = Log.objects.using(alias).filter(channel=CONTROL_CHANNEL).order_by("-seq")
    return [LogRow(*row) for row in rows.values_list(*LogRow._fields)[:most]][::-1]


class ForgetFold(Fold):
    """A person to be forgotten: their address is taken away, and gateways are told to keep nothing that was sent there.

    So whoever gets the same key has another address. What is left in tables, `store.erase` deletes.
    """

    def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
        addresses = forget(rows, using)
        return [self._entry(row, addresses.get(row.id)) for row in rows]

    def _entry(self, row: Outbox, recipient: UUID | None) -> Entry:
        channel = recipient_channel(recipient) if recipient is not None else None
        told = asdict(ControlEvent("deleted", row.user_key, channel=channel))
        change = told.pop("change")
        return Entry(at=row.id, type=change, payload=encode_payload(told), channel=CONTROL_CHANNEL)


def _insert(events: Sequence[ControlEvent], alias: str) -> None:
    with transaction.atomic(using=alias):
        insert([_row(event) for event in events])


def _row(event: ControlEvent) -> Outbox:
    told = asdict(event)
    change = told.pop("change")
    payload = encode_payload(told)
    if change == "deleted":  # its address is known, and taken away, by the fold
        return Outbox(kind=FORGET, user_key=event.person, type=change, payload=payload)
    return Outbox(kind=EVENT, channel=CONTROL_CHANNEL, type=change, payload=payload)
