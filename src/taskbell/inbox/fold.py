"""The fold of inboxes: `notify` and `seen` rows become notifications and events, in one transaction with the log."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Q
from django.db.models.functions import Coalesce

from taskbell.conf import current
from taskbell.counts import count
from taskbell.ground.events import encode_payload
from taskbell.inbox.box import Box, Counts
from taskbell.inbox.message import PAGE, PUSH
from taskbell.inbox.notify import NOTIFICATION_EVENT, NOTIFY
from taskbell.inbox.rows import SEEN, Mark, seen_json, to_json, to_mark, to_notification
from taskbell.models import Notification, Outbox
from taskbell.store.clock import moment, read_clock
from taskbell.store.folds import Entry, Fold, Numbered
from taskbell.store.people import channels_of

# Numbered like any event, and read by no stream: for those of whom open pages are not to hear. Nothing stands there but
# an id, by which receivers of signals find the row: what a person was sent is erased by their own channel.
UNHEARD_CHANNEL: Final = "taskbell:unheard"
# Ids in one SELECT: a thousand marks of a hundred each are more than SQLite takes parameters.
IDS_AT_ONCE: Final = 500
# Keys in one SELECT: a database looks for each of them with each of the people.
KEYS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Change:
    """What one row of the outbox has changed: `rows`, and where `mark` is for all, whatever else is in the table."""

    rows: Sequence[Notification]
    recipient: UUID
    now: datetime
    mark: Mark | None = None


class InboxFold(Fold):
    """A SELECT for some hundreds of ids or keys, and one write, for all notifications of a batch.

    Both kinds have this one fold, because "all" means what came before it.
    """

    def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
        said = [(row, to_notification(row) if row.kind == NOTIFY else to_mark(row)) for row in rows]
        recipients = _recipients(rows, using)
        boxes = _boxes(said, recipients, using)
        now = moment(read_clock(using))
        entries = []
        for row, what in said:
            recipient = recipients.get(row.user_key or "")
            if recipient is None:  # the account is gone, and its inbox with it
                continue
            box = boxes[recipient]
            if isinstance(what, Mark):
                entries += _mark(row, what, box, recipient, now)
            else:
                entries += _add(row, what, box, recipient, now)
        return entries

    def numbered(self, entries: Sequence[Numbered], using: str) -> None:
        rows: dict[UUID, Notification] = {}
        for numbered in entries:
            change: Change = numbered.entry.subject  # type: ignore[assignment]
            if change.mark is None:
                change.rows[0].seq = numbered.seq
                count("notifications_total")
            elif change.mark.all:
                _mark_table(change, using)
            rows |= {row.id: row for row in change.rows}
        Notification.objects.using(using).bulk_create(
            rows.values(),
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["seen_at", "read_at", "push_at"],
        )


def push_at(row: Notification) -> datetime | None:
    """Return when a new notification is due as Web Push, None if it never is."""
    if PUSH not in row.via.split() or not is_push_set():
        return None
    return row.created_at + timedelta(seconds=current().PUSH_AFTER)


def is_push_set() -> bool:
    """Tell whether this site wants Web Push, be it that this gateway cannot send: another one may have what it takes.

    Where none can, pruning takes `push_at` back when it is no news any more.
    """
    return bool(current().PUSH)


def count_in_table(recipients: Iterable[UUID], using: str, *, after: int = 0) -> dict[UUID, Counts]:
    """Return how many are unread and unseen of each person; only of those numbered `after`."""
    unread = Notification.objects.using(using).filter(recipient__in=set(recipients), read_at=None, seq__gt=after)
    counted = unread.values_list("recipient").annotate(unread=Count("id"), unseen=Count("id", filter=Q(seen_at=None)))
    return {recipient: Counts(unread, unseen) for recipient, unread, unseen in counted.order_by()}


def rows_in_table(
    recipients: Iterable[UUID], ids: Iterable[UUID], keys: Iterable[tuple[UUID, str]], using: str
) -> Iterator[Notification]:
    """Yield those people's notifications that are named by an id, or by a person's key; one may come twice."""
    table, people = Notification.objects.using(using), set(recipients)
    # By id alone: asked for people too, SQLite reads all that they have.
    for some in _pieces(ids, IDS_AT_ONCE):
        yield from (row for row in table.filter(id__in=some) if row.recipient in people)
    for pairs in _pieces(keys, KEYS_AT_ONCE):
        yield from table.filter(recipient__in={person for person, _ in pairs}, key__in={key for _, key in pairs})


def _pieces(values: Iterable[Any], most: int) -> Iterator[list[Any]]:
    unique = sorted(set(values))
    return (unique[start : start + most] for start in range(0, len(unique), most))


def _recipients(rows: Sequence[Outbox], using: str) -> dict[str, UUID]:
    channels = channels_of((row.user_key or "" for row in rows), using)
    return {key: UUID(channel.partition(":")[2]) for key, channel in channels.items()}


def _boxes(
    said: Sequence[tuple[Outbox, Notification | Mark]], recipients: Mapping[str, UUID], using: str
) -> dict[UUID, Box]:
    new = [what for _, what in said if isinstance(what, Notification)]
    marks = [what for _, what in said if isinstance(what, Mark)]
    ids = [row.id for row in new] + [id for mark in marks for id in mark.ids]
    known: dict[UUID, list[Notification]] = {recipient: [] for recipient in recipients.values()}
    for row in rows_in_table(known, ids, _keys(said, recipients), using):
        known[row.recipient].append(row)
    counts = count_in_table(known, using) if marks else {}
    return {recipient: Box(rows, counts.get(recipient, Counts())) for recipient, rows in known.items()}


def _keys(
    said: Sequence[tuple[Outbox, Notification | Mark]], recipients: Mapping[str, UUID]
) -> Iterator[tuple[UUID, str]]:
    for row, what in said:
        recipient = recipients.get(row.user_key or "")
        if isinstance(what, Notification) and what.key is not None and recipient is not None:
            yield recipient, what.key


def _add(at: Outbox, row: Notification, box: Box, recipient: UUID, now: datetime) -> list[Entry]:
    # By the clock of all gateways: retention counts from here.
    row.recipient, row.created_at = recipient, now
    row.push_at = push_at(row)
    if not box.add(row):
        count("notifications_doubled_total")
        return []
    is_heard = PAGE in row.via.split()
    return [
        Entry(
            at=at.id,
            type=NOTIFICATION_EVENT,
            payload=encode_payload(to_json(row) if is_heard else {"id": str(row.id)}),
            user_key=at.user_key if is_heard else None,
            channel=None if is_heard else UNHEARD_CHANNEL,
            subject=Change([row], recipient, now),
        )
    ]


def _mark(at: Outbox, mark: Mark, box: Box, recipient: UUID, now: datetime) -> list[Entry]:
    changed = box.mark(mark, now)
    if changed is None:
        return []
    ids = [] if mark.all else [row.id for row in changed]
    return [
        Entry(
            at=at.id,
            type=SEEN,
            payload=encode_payload(seen_json(mark, ids, box.unread)),
            user_key=at.user_key,
            subject=Change(changed, recipient, now, mark),
        )
    ]


def _mark_table(change: Change, using: str) -> None:
    """Mark what is in the table and not in memory; what is new in this batch is not there yet."""
    unread = Notification.objects.using(using).filter(recipient=change.recipient, read_at=None)
    if change.mark is not None and change.mark.read:
        unread.update(seen_at=Coalesce("seen_at", change.now), read_at=change.now, push_at=None)
    else:
        unread.filter(seen_at=None).update(seen_at=change.now, push_at=None)
