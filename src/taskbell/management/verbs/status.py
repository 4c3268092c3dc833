import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.core.management.base import OutputWrapper
from django.db import router
from django.db.models import Count
from django.utils import timezone

from taskbell.conf import current
from taskbell.management.verbs.base import Verb
from taskbell.models import Forgotten, Log, Outbox
from taskbell.store.forgotten import FORGET
from taskbell.store.head import read_head


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where log and outbox stand. Before the first event there is no head, floor or log id."""

    log_id: str | None
    head: int | None
    floor: int | None
    log: int
    outbox: int
    oldest_seconds: float | None
    failed: dict[str, int]
    forgetting: int
    outbox_limit: int

    @property
    def over(self) -> bool:
        """True when more rows wait than OUTBOX_LIMIT."""
        return self.outbox > self.outbox_limit


class Show(Verb):
    help = "Show where log and outbox stand; exit status 1 when more rows wait than OUTBOX_LIMIT."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def run(self, out: OutputWrapper, *, json: bool, **options: Any) -> int:
        status = read_status(router.db_for_write(Outbox))
        for line in [as_json(status)] if json else lines(status):
            out.write(line)
        return 1 if status.over else 0


def read_status(alias: str) -> Status:
    """Return where log and outbox on a database stand."""
    head = read_head(alias)
    rows = Outbox.objects.using(alias)
    waiting = rows.filter(failed_at=None)
    oldest = waiting.order_by("id").values_list("created_at", flat=True).first()
    kinds = rows.exclude(failed_at=None).values_list("kind").annotate(Count("id")).order_by("kind")
    return Status(
        log_id=head.log_id if head else None,
        head=head.seq if head else None,
        floor=head.floor if head else None,
        log=Log.objects.using(alias).count(),
        outbox=waiting.count(),
        oldest_seconds=_age(oldest) if oldest else None,
        failed=dict(kinds),
        forgetting=waiting.filter(kind=FORGET).count() + Forgotten.objects.using(alias).filter(erased_at=None).count(),
        outbox_limit=current().OUTBOX_LIMIT,
    )


def as_json(status: Status) -> str:
    """Return the status as one line of JSON."""
    return json.dumps({**asdict(status), "over_outbox_limit": status.over})


def lines(status: Status) -> Iterator[str]:
    """Yield the status as lines for people."""
    if status.head is None:
        yield "head    none yet: the first gateway creates it"
    else:
        yield f"head    {status.head} of log {status.log_id}, replayable from {status.floor}"
    yield f"log     {status.log} rows"
    oldest = "" if status.oldest_seconds is None else f", the oldest for {status.oldest_seconds:.1f} s"
    yield f"outbox  {status.outbox} rows wait{oldest}"
    for kind, count in status.failed.items():
        yield f"failed  {count} rows of kind {kind}: the gateway's log says why"
    if status.forgetting:
        yield f"forget  {status.forgetting} people are not erased yet"
    if status.over:
        yield (
            f"OVER OUTBOX_LIMIT: {status.outbox} rows wait, {status.outbox_limit} are allowed. "
            "Is a gateway running? `manage.py taskbell doctor` looks."
        )


def _age(since: datetime) -> float:
    # A writer's clock may be ahead of ours.
    return max(0.0, round((timezone.now() - since).total_seconds(), 3))


verb = Show()
