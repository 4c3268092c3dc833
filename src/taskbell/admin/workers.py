"""Workers: whether each shows that it lives, as far as can be known, and what it has.

A beat is a number that grows, so it takes two looks to know anything. What the last look of this person saw is kept in
their session: the next look may be answered by another process.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import Count
from django.http import HttpRequest
from django.utils.html import format_html

from taskbell.admin.base import NOTHING, ReadOnlyAdmin, column
from taskbell.conf import current
from taskbell.models import Run, Worker
from taskbell.runs.writer import BEATS_A_LEASE

SIGHTINGS: Final = "taskbell_beats"


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("shown_name", "alive", "has", "beats", "started")
    ordering = ("-started_at",)
    search_fields = ("name",)
    shown = ("shown_name", "alive", "has", "beats", "started", "id")

    @property
    def every(self) -> float:  # type: ignore[override]
        """A beat is told to nobody, so an open page looks as often as workers beat."""
        return current().LEASE / BEATS_A_LEASE

    def prepare(self, request: HttpRequest, rows: Sequence[Worker]) -> None:
        running = Run.objects.using(rows[0]._state.db or "default") if rows else Run.objects
        counted = running.filter(worker__in=[row.id for row in rows], state="running").values_list("worker")
        held = dict(counted.annotate(Count("id")).order_by())
        seen: dict[str, list[float]] = request.session.get(SIGHTINGS, {})
        now, sightings = time.time(), {}
        for row in rows:
            beat, since, moved = seen.get(str(row.id), [row.beat, now, 0])
            if beat != row.beat:
                beat, since, moved = row.beat, now, 1
            sightings[str(row.id)] = [beat, since, moved]
            row.held = held.get(row.id, 0)  # type: ignore[attr-defined]
            row.silent = now - since  # type: ignore[attr-defined]
            row.moved = bool(moved)  # type: ignore[attr-defined]
        request.session[SIGHTINGS] = {**seen, **sightings} if len(seen) < len(rows) * 2 + 100 else sightings

    @column("worker")
    def shown_name(self, row: Worker) -> str:
        return row.name

    @column("sign of life")
    def alive(self, row: Worker) -> str:
        silent: float = row.silent  # type: ignore[attr-defined]
        if silent >= current().LEASE:
            return _state("lost", f"silent for {silent:.0f} s")
        if row.moved:  # type: ignore[attr-defined]
            return _state("succeeded", "alive")
        return _state("queued", f"not known yet; look again in {self.every:.0f} s")

    @column("running")
    def has(self, row: Worker) -> str:
        held: int = row.held  # type: ignore[attr-defined]
        return self.list_link(Run, str(held), worker=row.id, state="running") if held else NOTHING

    @column("beats")
    def beats(self, row: Worker) -> int:
        return row.beat

    @column("started")
    def started(self, row: Worker) -> Any:
        return row.started_at


def _state(state: str, text: str) -> str:
    return format_html('<span class="taskbell-state taskbell-{}">{}</span>', state, text)
