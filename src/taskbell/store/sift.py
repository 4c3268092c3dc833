"""What becomes of each row of a batch: log entries, spent, kept for later, or failed."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from taskbell.models import Outbox
from taskbell.store.folds import Entry, Fold, Numbered, fold_for
from taskbell.store.outbox import EVENT
from taskbell.store.people import channels_of

# An account created in another transaction than its event may be committed a little later; longer is a mistake.
ACCOUNT_WAIT: Final = timedelta(seconds=60)

logger = logging.getLogger("taskbell")


class FoldRefused(Exception):
    """A fold cannot write what one of these rows became."""

    def __init__(self, rows: Sequence[int]) -> None:
        super().__init__(self.__doc__)
        self.rows = rows


@dataclass(slots=True)
class Sifted:
    """A batch taken apart: `entries` with their channels in outbox order, and ids by what becomes of the rows."""

    entries: list[tuple[Entry, str]] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    dropped: int = 0
    rows: list[int] = field(default_factory=list)
    _folds: list[tuple[Fold, list[Entry]]] = field(default_factory=list)

    def tell_folds(self, first_seq: int, using: str) -> None:
        """Tell each fold which numbers its entries were given."""
        numbered = {
            id(entry): Numbered(seq, channel, entry)
            for seq, (entry, channel) in enumerate(self.entries, start=first_seq)
        }
        for fold, entries in self._folds:
            told = [numbered[id(entry)] for entry in entries if id(entry) in numbered]
            try:
                fold.numbered(told, using)
            except (DatabaseError, InterfaceError) as error:
                if not isinstance(error, DataError | IntegrityError):
                    raise  # the database's trouble, not a row's
                raise FoldRefused(self.rows) from error
            except Exception as error:
                raise FoldRefused(self.rows) from error


def sift(ids: Sequence[int], using: str) -> Sifted:
    """Read the rows and decide; called under the head's lock."""
    rows = list(Outbox.objects.using(using).filter(id__in=ids, failed_at=None).order_by("id"))
    sifted = Sifted(rows=[row.id for row in rows])
    entries = [_entry(row) for row in rows if row.kind == EVENT]
    entries += _fold_facts([row for row in rows if row.kind != EVENT], using, sifted)
    entries.sort(key=lambda entry: entry.at)
    _address(entries, {row.id: row for row in rows}, using, sifted)
    gone = {*sifted.kept, *sifted.failed}
    sifted.spent = [row.id for row in rows if row.id not in gone]
    return sifted


def _entry(row: Outbox) -> Entry:
    return Entry(
        at=row.id,
        type=row.type,
        payload=row.payload,
        channel=row.channel,
        user_key=row.user_key,
        latest_key=row.latest_key,
    )


def _address(entries: list[Entry], rows: dict[int, Outbox], using: str, sifted: Sifted) -> None:
    """Give every entry its channel; an event for an account that is not visible yet is kept for a minute."""
    channels = channels_of((entry.user_key for entry in entries if entry.user_key is not None), using)
    oldest = timezone.now() - ACCOUNT_WAIT
    for entry in entries:
        channel = entry.channel if entry.user_key is None else channels.get(entry.user_key)
        if channel is not None:
            sifted.entries.append((entry, channel))
        elif rows[entry.at].kind == EVENT and rows[entry.at].created_at > oldest:
            sifted.kept.append(entry.at)
        else:
            sifted.dropped += 1


def _fold_facts(rows: list[Outbox], using: str, sifted: Sifted) -> list[Entry]:
    by_kind: dict[str, list[Outbox]] = defaultdict(list)
    for row in rows:
        by_kind[row.kind].append(row)
    entries: list[Entry] = []
    for kind, facts in by_kind.items():
        fold = fold_for(kind)
        if fold is None:
            logger.error("Outbox rows of the unknown kind %r are set aside; is an app missing in INSTALLED_APPS?", kind)
            sifted.failed += [row.id for row in facts]
            continue
        made = _fold(fold, facts, using, sifted)
        sifted._folds.append((fold, made))
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
            logger.exception("Outbox row %s of kind %r cannot be folded and is set aside.", rows[0].id, rows[0].kind)
            sifted.failed.append(rows[0].id)
            return []
    sound = [row for row in rows if _folds_alone(fold, row, using, sifted)]
    if len(sound) == len(rows):  # they quarrel only together
        return [entry for row in rows for entry in _fold(fold, [row], using, sifted)]
    # Together again: alone, a row does not see what those before it in the batch have changed.
    return _fold(fold, sound, using, sifted) if sound else []


def _folds_alone(fold: Fold, row: Outbox, using: str, sifted: Sifted) -> bool:
    """Try a row and take back what its fold wrote; one that raises is set aside."""
    with transaction.atomic(using=using):
        _fold(fold, [row], using, sifted)
        transaction.set_rollback(True, using=using)
    return row.id not in sifted.failed
