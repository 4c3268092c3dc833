"""Runs: which there are, how each came to be as it is, and what belongs to it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from taskbell.admin.base import NOTHING, ReadOnlyAdmin, column
from taskbell.admin.people import recipients_of
from taskbell.models import Notification, Run, Worker
from taskbell.runs.rows import steps_from_json
from taskbell.runs.states import ENDINGS, State
from taskbell.runs.tree import step_id

UNDER_WAY: Final[tuple[State, ...]] = ("queued", "running", "retrying")


class StateFilter(admin.SimpleListFilter):
    """One state, by its index; without a choice what is under way, or of what is searched for all."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in (*UNDER_WAY, *sorted(ENDINGS))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        if self.value() is not None:
            return queryset.filter(state=self.value())
        return queryset if request.GET.get("q") else queryset.filter(state__in=UNDER_WAY)

    def choices(self, changelist: Any) -> Iterator[Any]:
        everything, *states = super().choices(changelist)
        yield {**everything, "display": "all" if changelist.query else "under way"}
        yield from states


class WorkerFilter(admin.SimpleListFilter):
    """What one worker has; the page of workers leads here."""

    title = "worker"
    parameter_name = "worker"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        asked = request.GET.get(self.parameter_name)
        return [(asked, asked)] if asked else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        worker = _uuid(self.value() or "")
        return queryset.filter(worker=worker) if worker is not None else queryset


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = (
        "label_or_name",
        "person",
        "colored_state",
        "progress",
        "attempt_number",
        "since_when",
        "shown_worker",
    )
    list_filter = (StateFilter, WorkerFilter)
    ordering = ("-since",)
    search_fields = ("task_id",)
    search_help_text = "A run's or a task's id, a person's user name or key; else part of a label or a task's name."
    content = ("message", "result", "error_message")
    shown = (
        "label_or_name", "name", "person", "colored_state", "late", "progress", "message", "result", "error_message",
        "error_reference", "attempt", "engine", "task_id", "id", "queued_at", "started_at", "finished_at",
        "next_attempt_at", "expires_at", "cancel_requested_at", "shown_worker", "shown_parent", "shown_steps",
        "shown_notifications",
    )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        term = search_term.strip()
        if not term or "\0" in term:
            return (queryset if not term else queryset.none()), False
        # One after the other, each by its index: asked for together, none would be used.
        by_id = queryset.filter(Q(task_id=term) | Q(id=id) if (id := _uuid(term)) else Q(task_id=term))
        if by_id.exists():
            return by_id, False
        if people := recipients_of(term, queryset.db):
            return queryset.filter(recipient__in=people), False
        return queryset.filter(Q(label__icontains=term) | Q(name__icontains=term)), False

    def prepare(self, request: HttpRequest, rows: Sequence[Run]) -> None:
        super().prepare(request, rows)
        ids = {row.worker for row in rows if row.worker is not None}
        workers = {worker.id: worker for worker in Worker.objects.using(_db(rows)).filter(id__in=ids)} if ids else {}
        for row in rows:
            row.found_worker = workers.get(row.worker)  # type: ignore[attr-defined,arg-type]

    @column("run")
    def label_or_name(self, row: Run) -> str:
        return row.label or row.name or NOTHING

    @column("state")
    def colored_state(self, row: Run) -> str:
        late = ", late" if row.late else ""
        asked = ", to be cancelled" if row.cancel_requested_at is not None and row.state in UNDER_WAY else ""
        return format_html('<span class="taskbell-state taskbell-{}">{}</span>{}{}', row.state, row.state, late, asked)

    @column("progress")
    def progress(self, row: Run) -> str:
        if row.done is None:
            return NOTHING
        return f"{row.done:g} of {row.total:g}" if row.total is not None else f"{row.done:g}"

    @column("attempt")
    def attempt_number(self, row: Run) -> int:
        return row.attempt

    @column("since")
    def since_when(self, row: Run) -> Any:
        return row.since

    @column("worker")
    def shown_worker(self, row: Run) -> str:
        worker: Worker | None = row.found_worker  # type: ignore[attr-defined]
        if worker is None:
            return "gone" if row.worker is not None else NOTHING
        return self.link(Worker, worker.id, worker.name)

    @column("part of")
    def shown_parent(self, row: Run) -> str:
        parent = Run.objects.using(_db([row])).filter(id=row.parent).first() if row.parent is not None else None
        return self.link(Run, parent.id, parent.label or str(parent.id)) if parent is not None else NOTHING

    @column("steps")
    def shown_steps(self, row: Run) -> str:
        if not row.steps:
            return NOTHING
        steps = steps_from_json(row.steps)
        ids = [UUID(step_id(str(row.id), step)) for step in range(len(steps.plan))]
        there = set(Run.objects.using(_db([row])).filter(id__in=ids).values_list("id", flat=True))
        lines = [
            (f"{steps.state_of(place)}: ", self.link(Run, id, _label(planned)) if id in there else _label(planned))
            for place, (id, planned) in enumerate(zip(ids, steps.plan, strict=True))
        ]
        more = steps.known - len(lines)
        listed = format_html_join("", "<li>{}{}</li>", lines)
        return format_html('<ul class="taskbell-steps">{}{}</ul>', listed, _more(more))

    @column("notifications")
    def shown_notifications(self, row: Run) -> str:
        # By the recipient, because there is an index of that.
        told = Notification.objects.using(_db([row])).filter(recipient=row.recipient, run=row.id)
        links = [
            (self.link(Notification, one.id, f"{one.created_at:%Y-%m-%d %H:%M} {one.level}"),) for one in told[:20]
        ]
        return format_html_join(", ", "{}", links) or NOTHING


def _label(planned: Any) -> str:
    return (planned[2] or planned[1] or "a step") if planned else "a step"


def _more(steps: int) -> str:
    return format_html("<li>and {} more</li>", steps) if steps > 0 else ""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _db(rows: Sequence[Run]) -> str:
    return next((row._state.db for row in rows if row._state.db), "default")
