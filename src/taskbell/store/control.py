"""Control events: what gateways are told of people's access, on a channel that no stream and no `tail` ever shows.

They are rows of the outbox like any event, so they are committed, or rolled back, with the change that they tell of.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final, Literal, get_args

from django.db import router, transaction

from taskbell import faults
from taskbell.ground.events import encode_payload
from taskbell.models import Log, Outbox
from taskbell.store.folds import Entry, Fold
from taskbell.store.log import LogRow
from taskbell.store.outbox import EVENT, insert
from taskbell.store.people import forget

CONTROL_CHANNEL: Final = "taskbell:control"
FORGET: Final = "forget"
# 128 bits: a session is named, and its key, which is the password of the hour, is not.
SESSION_NAME_LENGTH: Final = 32

#: A session ended; the account or its groups changed; the account is gone, and its recipient with it.
Change = Literal["ended", "changed", "deleted"]


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """One change of access. `person` is the key of an account, None for everybody; `session` is a `session_name`."""

    change: Change
    person: str | None
    session: str | None = None


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
        return ControlEvent(row.type, told["person"], told["session"])  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError):
        faults.error("The control event %d cannot be read.", row.seq)
        return None


def newest(alias: str, most: int) -> list[LogRow]:
    """Return the newest control events, at most so many, ascending."""
    rows = Log.objects.using(alias).filter(channel=CONTROL_CHANNEL).order_by("-seq")
    return [LogRow(*row) for row in rows.values_list(*LogRow._fields)[:most]][::-1]


class ForgetFold(Fold):
    """A deleted account: its recipient is dropped, so whoever gets the same key has another address."""

    def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
        forget({row.user_key for row in rows if row.user_key is not None}, using)
        return [Entry(at=row.id, type=row.type, payload=row.payload, channel=CONTROL_CHANNEL) for row in rows]


def _insert(events: Sequence[ControlEvent], alias: str) -> None:
    with transaction.atomic(using=alias):
        insert([_row(event) for event in events])


def _row(event: ControlEvent) -> Outbox:
    told = asdict(event)
    change = told.pop("change")
    payload = encode_payload(told)
    if change == "deleted":
        return Outbox(kind=FORGET, user_key=event.person, type=change, payload=payload)
    return Outbox(kind=EVENT, channel=CONTROL_CHANNEL, type=change, payload=payload)
