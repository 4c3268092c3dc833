"""What becomes of each row of a batch: log entries, spent, kept for later, or failed."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError, transaction

from taskbell import faults
from taskbell.models import Outbox
from taskbell.store.folds import Entry, Fold, Numbered, fold_for
from taskbell.store.forgotten import FORGET, since_of
from taskbell.store.outbox import EVENT
from taskbell.store.people import addresses_of, channels_of


class FoldRefused(Exception):
    """A fold cannot write what one of these rows became, or not of all of them together."""

    def __init__(self, rows: Sequence[int]) -> None:
        super().__init__(self.__doc__)
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Folded:
    """What a fold made of the rows that it was given."""

    fold: Fold
    rows: Sequence[int]
    entries: Sequence[Entry]


@dataclass(slots=True)
class Sifted:
    """A batch taken apart: `entries` with their channels in outbox order, and ids by what becomes of the rows."""

    entries: list[tuple[Entry, str]] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    dropped: int = 0
    _folded: list[Folded] = field(default_factory=list)

    def tell_folds(self, first_seq: int, using: str) -> None:
        """Tell each fold which numbers its entries were given."""
        numbered = {
            id(entry): Numbered(seq, channel, entry)
            for seq, (entry, channel) in enumerate(self.entries, start=first_seq)
        }
        for folded in self._folded:
            told = [numbered[id(entry)] for entry in folded.entries if id(entry) in numbered]
            if told:
                self._tell(folded, told, using)

    def _tell(self, folded: Folded, told: Sequence[Numbered], using: str) -> None:
        # Every row that was folded, not only those that are told: an entry holds what earlier rows have changed.
        rows = [id for id in folded.rows if id not in self.failed]
        try:
            folded.fold.numbered(told, using)
        except (DatabaseError, InterfaceError) as error:
            if not isinstance(error, DataError | IntegrityError):
                raise  # the database's trouble, not a row's
            raise FoldRefused(rows) from error
        except Exception as error:
            raise FoldRefused(rows) from error


def sift(ids: Sequence[int], using: str, waited: Collection[int] = ()) -> Sifted:
    """Read the rows and decide; called under the head's lock.

    A row whose account is not visible is kept, and no fold sees it; one of those that have `waited` is dropped.
    """
    rows = list(Outbox.objects.using(using).filter(id__in=ids, failed_at=None).order_by("id"))
    sifted = Sifted()
    visible = _split(rows, sifted, waited, using)
    entries = [_entry(row) for row in visible if row.kind == EVENT]
    entries += _fold_facts([row for row in visible if row.kind != EVENT], using, sifted)
    entries.sort(key=lambda entry: entry.at)
    _address(entries, using, sifted)
    gone = {*sifted.kept, *sifted.failed}
    sifted.spent = [row.id for row in rows if row.id not in gone]
    return sifted


def _split(rows: Sequence[Outbox], sifted: Sifted, waited: Collection[int], using: str) -> list[Outbox]:
    """Return the rows whose account is visible, or that have none; of the others, note what becomes of them."""
    keys = {row.user_key for row in rows if row.user_key is not None}
    addresses = addresses_of(keys, using)
    since = {key: address.since for key, address in addresses.items() if address.since is not None}
    if len(addresses) < len(keys):
        since |= since_of(keys - addresses.keys(), using)
    forgotten: dict[str, int] = {}
    for row in reversed(rows):
        if row.kind == FORGET and row.user_key is not None and row.user_key not in forgotten:
            forgotten[row.user_key] = row.id
            since[row.user_key] = row.created_at
    visible = []
    for row in rows:
        key = row.user_key
        if key is None or row.kind == FORGET:
            visible.append(row)
        elif row.id < forgotten.get(key, 0) or (key in since and _asked_at(row) < since[key]):
            sifted.dropped += 1  # it was for the account that is gone, not for one that has the same key since
        elif key in addresses:
            visible.append(row)
        elif row.id in waited:
            sifted.dropped += 1
        else:
            sifted.kept.append(row.id)
    return visible


def _asked_at(row: Outbox) -> datetime:
    """Return when a person asked for what a row tells of; a task may tell of itself hours later."""
    fold = fold_for(row.kind)
    try:
        return (fold.asked_at(row) if fold is not None else None) or row.created_at
    except (ValueError, TypeError, KeyError, AttributeError):
        return row.created_at  # it cannot be read, and its fold will say so


def _entry(row: Outbox) -> Entry:
    return Entry(
        at=row.id,
        type=row.type,
        payload=row.payload,
        channel=row.channel,
        user_key=row.user_key,
        latest_key=row.latest_key,
    )


def _address(entries: Sequence[Entry], using: str, sifted: Sifted) -> None:
    """Give every entry its channel; what a fold addresses to an account that is not visible is dropped."""
    channels = channels_of((entry.user_key for entry in entries if entry.user_key is not None), using)
    for entry in entries:
        channel = entry.channel if entry.user_key is None else channels.get(entry.user_key)
        if channel is not None:
            sifted.entries.append((entry, channel))
        else:
            sifted.dropped += 1


def _fold_facts(rows: list[Outbox], using: str, sifted: Sifted) -> list[Entry]:
    by_fold: dict[Fold, list[Outbox]] = defaultdict(list)
    # What was for a deleted account is gone by now: the rest is for whoever has its key since.
    for row in sorted(rows, key=lambda row: row.kind != FORGET):
        fold = fold_for(row.kind)
        if fold is None:
            faults.error(
                "Outbox rows of the unknown kind %r are set aside; is an app missing in INSTALLED_APPS?", row.kind
            )
            sifted.failed.append(row.id)
        else:
            by_fold[fold].append(row)
    entries: list[Entry] = []
    for fold, facts in by_fold.items():
        made = _fold(fold, facts, using, sifted)
        sifted._folded.append(Folded(fold, [row.id for row in facts], made))
        entries += made
    return entries


def _fold(fold: Fold, rows: list[Outbox], using: str, sifted: Sifted) -> list[Entry]:
    """Fold all rows together; if that raises, without those that raise alone, so that a bad row only stops itself."""
    try:
        with transaction.atomic(using=using):
            return fold.fold(rows, using)
    except (OperationalError, InterfaceError):
        raise  # the database's trouble, not the row's
    except Exception:
        if len(rows) == 1:
            faults.exception("Outbox row %s of kind %r cannot be folded and is set aside.", rows[0].id, rows[0].kind)
            sifted.failed.append(rows[0].id)
            return []
    sound = [row for row in rows if _folds_alone(fold, row, using, sifted)]
    if len(sound) == len(rows):  # they quarrel only together: one after the other, each in a tick of its own
        raise FoldRefused([row.id for row in rows])
    # Together again: alone, a row does not see what those before it in the batch have changed.
    return _fold(fold, sound, using, sifted) if sound else []


def _folds_alone(fold: Fold, row: Outbox, using: str, sifted: Sifted) -> bool:
    """Try a row and take back what its fold wrote; one that raises is set aside."""
    with transaction.atomic(using=using):
        _fold(fold, [row], using, sifted)
        transaction.set_rollback(True, using=using)
    return row.id not in sifted.failed
