"""How much waits: looked at now and then by every gateway, for metrics."""

import time
from dataclasses import dataclass, field
from typing import Final

from django.utils import timezone

from taskbell.conf import current
from taskbell.models import Outbox
from taskbell.store.head import read_head

MEASURE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Where outbox and log stood when it was looked: `rows` is counted up to OUTBOX_LIMIT and one more."""

    head: int
    floor: int
    rows: int
    oldest_seconds: float
    set_aside: int
    measured_at: float = field(default_factory=time.monotonic)


_newest: Backlog | None = None


def newest() -> Backlog | None:
    """Return what was last seen in this process; None if nobody has looked."""
    return _newest


def measure(alias: str) -> None:
    """Look, and keep what was seen for `newest`."""
    global _newest  # noqa: PLW0603  one look a process
    head = read_head(alias)
    rows = Outbox.objects.using(alias)
    waiting = rows.filter(failed_at=None)
    oldest = waiting.order_by("id").values_list("created_at", flat=True).first()
    _newest = Backlog(
        head=head.seq if head else 0,
        floor=head.floor if head else 1,
        # The limit bounds what counting costs: PostgreSQL walks over every row.
        rows=waiting.values("id")[: current().OUTBOX_LIMIT + 1].count(),
        # A writer's clock may be ahead of ours.
        oldest_seconds=max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0,
        set_aside=rows.exclude(failed_at=None).values("id")[: current().OUTBOX_LIMIT + 1].count(),
    )
