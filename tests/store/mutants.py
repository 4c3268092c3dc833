"""The store, and designs that look as good and lose events. Each differs from `Genuine` in one thought."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import inf
from typing import ClassVar

from django.db import connections, transaction
from django.db.models import Max

from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.models import Log, LogHead, Outbox
from taskbell.store.head import Head, read_head
from taskbell.store.log import LogRow, Lost, Page, read_after
from taskbell.store.sift import sift
from taskbell.store.tick import BATCH_ROWS, Answer, Moved, Ticker
from taskbell.store.waiting import AboveLowWater


class Genuine:
    """What is proven. A history is all rows that any reader should have been given, by number."""

    ticker: ClassVar[type[Ticker]] = Ticker

    def read(self, place: Cursor, alias: str, limit: int) -> Page | Lost | None:
        return read_after(place, alias, limit)

    def end(self, alias: str) -> int | None:
        """Return the number after which nothing more will come, None while rows still wait."""
        # In this order: the head of a moment before would be below what was moved since.
        if Outbox.objects.using(alias).exists():
            return None
        head = read_head(alias)
        return head.seq if head else None

    def history(self, alias: str) -> list[LogRow]:
        return [LogRow(*row) for row in Log.objects.using(alias).order_by("seq").values_list(*LogRow._fields)]


class IdleTicker(Ticker):
    def tick(self) -> Answer:
        return Moved()


class PagingByOutboxId(Genuine):
    """No log: readers remember the highest id. But ids are taken before commit."""

    ticker = IdleTicker
    committed: ClassVar[str] = "true"

    def read(self, place: Cursor, alias: str, limit: int) -> Page:
        return Page(Head(0, 1, place.log_id), self._rows(place.seq, limit, self.committed, alias))

    def end(self, alias: str) -> int:
        return Outbox.objects.using(alias).aggregate(last=Max("id"))["last"] or 0

    def history(self, alias: str) -> list[LogRow]:
        return self._rows(0, 1_000_000, "true", alias)

    def _rows(self, after: int, limit: int, condition: str, alias: str) -> list[LogRow]:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                f"select id, channel, type, payload, latest_key from {Outbox._meta.db_table} "
                f"where id > %s and {condition} order by id limit %s",
                [after, limit],
            )
            return [LogRow(row[0], NONCE_AT_ZERO, *row[1:]) for row in cursor.fetchall()]


class HorizonWithIdCursor(PagingByOutboxId):
    """Only rows older than every running transaction: so none appears below. But their ids are in another order."""

    committed = "xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


class UnlockedTicker(Ticker):
    def _tick(self) -> Answer:
        ids, _ = self._waiting.read(BATCH_ROWS)
        return self._with_folds(ids, more=len(ids) >= BATCH_ROWS) if ids else Moved()

    def _with_folds(self, ids: list[int], more: bool) -> Answer:
        sifted = sift(ids, self.alias)
        with transaction.atomic(using=self.alias):
            heads = LogHead.objects.using(self.alias).filter(one=1).select_for_update()
            row = heads.values_list("seq", "floor", "log_id").first()
            if row is None:
                return self._not_moved()
            rows = self._number(sifted, Head(*row))
            Outbox.objects.using(self.alias).filter(id__in=sifted.spent).delete()
        return Moved(Head(*row), rows, more)


class TickWithoutLock(Genuine):
    """Numbers are given one ticker at a time, so they are unique. But two tickers read the same waiting rows."""

    ticker = UnlockedTicker


class NoHoles(AboveLowWater):
    def restart(self) -> None:
        super().restart()
        self._full_scan_at = inf

    def _learn(self, seen: Collection[int], *, whole: bool) -> None:
        super()._learn(seen, whole=whole)
        self.holes = {}


class LowTicker(Ticker):
    def __init__(self, alias: str | None = None) -> None:
        super().__init__(alias)
        self._waiting = NoHoles(self.alias)


class LowWaterWithoutHoles(Genuine):
    """Reading above the highest id seen. But a lower one may be committed later."""

    ticker = LowTicker


class ReadWithoutNonce(Genuine):
    """A place is known by log and number. But a restored history gives the same numbers to other events."""

    def read(self, place: Cursor, alias: str, limit: int) -> Page | Lost | None:
        there = Log.objects.using(alias).filter(seq=place.seq).values_list("nonce", flat=True).first()
        return read_after(replace(place, nonce=there or place.nonce), alias, limit)


CAST: Sequence[type[Genuine]] = [
    *[Genuine, PagingByOutboxId, HorizonWithIdCursor, TickWithoutLock, LowWaterWithoutHoles, ReadWithoutNonce]
]


def named(name: str) -> Genuine:
    """Return the design of that name."""
    return next(design for design in CAST if design.__name__ == name)()
