"""Log and outbox: what happened, when and for whom, and what waits or could not be folded. Never a payload."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest

from taskbell.admin.base import NOTHING, ReadOnlyAdmin, column
from taskbell.admin.people import People, recipients_of, searched
from taskbell.models import Log, Outbox, Run

OWN: Final = "user:"
INTEGER_BITS: Final = 63


class Sized(ReadOnlyAdmin):
    """Rows with a payload, of which only the size is read."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        sized: QuerySet[Any] = rows.annotate(size=Length("payload")).defer("payload")
        return sized

    @column("bytes")
    def shown_size(self, row: Any) -> int:
        return int(row.size)


@admin.register(Log)
class LogAdmin(Sized):
    list_display = ("seq", "shown_type", "shown_channel", "person", "shown_size", "shown_at")
    ordering = ("-seq",)
    search_fields = ("channel",)
    search_help_text = "A number, a channel, or a person's user name or key. Payloads are not shown."
    shown = ("seq", "shown_type", "shown_channel", "person", "shown_run", "shown_size", "shown_at")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Log], search_term: str
    ) -> tuple[QuerySet[Log], bool]:
        term = search_term.strip()
        if not term or "\0" in term:
            return (queryset if not term else queryset.none()), False
        if ":" in term:
            return queryset.filter(channel=term), False
        channels = [f"{OWN}{recipient}" for recipient in recipients_of(term, queryset.db)]
        if channels:
            return queryset.filter(channel__in=channels), False
        return queryset.filter(seq=int(term)) if _is_number(term) else queryset.none(), False

    def prepare(self, request: HttpRequest, rows: Sequence[Log]) -> None:
        self.name_people(request, {row: _recipient(row.channel) for row in rows})

    @column("type")
    def shown_type(self, row: Log) -> str:
        return row.type or "emptied"

    @column("channel")
    def shown_channel(self, row: Log) -> str:
        return NOTHING if row.channel is None else "their own" if _recipient(row.channel) else row.channel

    @column("run")
    def shown_run(self, row: Log) -> str:
        run = Run.objects.using(row._state.db).filter(seq=row.seq, recipient=_recipient(row.channel) or UUID(int=0))
        found = run.first()
        return self.link(Run, found.id, found.label) if found is not None else NOTHING

    @column("numbered")
    def shown_at(self, row: Log) -> Any:
        return row.sequenced_at


class OutcomeFilter(admin.SimpleListFilter):
    """What waits, and what could not be folded."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waits", "waits"), ("failed", "set aside")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Outbox]) -> QuerySet[Outbox]:
        if self.value() is None:
            return queryset
        return queryset.filter(failed_at__isnull=self.value() == "waits")


@admin.register(Outbox)
class OutboxAdmin(Sized):
    list_display = (
        "id",
        "kind",
        "shown_type",
        "shown_channel",
        "person",
        "shown_run",
        "shown_size",
        "written",
        "aside",
    )
    list_filter = (OutcomeFilter,)
    ordering = ("-id",)
    search_fields = ("task_id",)
    search_help_text = "A task's or a run's id, or a person's user name or key. Payloads are not shown."
    shown = (
        "id",
        "kind",
        "shown_type",
        "shown_channel",
        "person",
        "task_id",
        "shown_run",
        "shown_size",
        "written",
        "aside",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Outbox], search_term: str
    ) -> tuple[QuerySet[Outbox], bool]:
        term = search_term.strip()
        if not term or "\0" in term:
            return (queryset if not term else queryset.none()), False
        by_id = queryset.filter(Q(task_id=term) | Q(run_key=term))
        if by_id.exists():
            return by_id, False
        return queryset.filter(user_key__in=[*searched(term), term]), False

    def prepare(self, request: HttpRequest, rows: Sequence[Outbox]) -> None:
        people = People.by_key({row.user_key for row in rows if row.user_key is not None})
        for row in rows:
            key = row.user_key
            person = people.shown_key(key, self.admin_site, request) if key is not None else NOTHING
            row.shown_person = person  # type: ignore[attr-defined]
        keys = {run for row in rows if (run := _uuid(row.run_key)) is not None}
        runs = set(Run.objects.using(_db(rows)).filter(id__in=keys).values_list("id", flat=True)) if keys else set()
        for row in rows:
            run = _uuid(row.run_key)
            row.found_run = run if run in runs else None  # type: ignore[attr-defined]

    @column("type")
    def shown_type(self, row: Outbox) -> str:
        return row.type

    @column("channel")
    def shown_channel(self, row: Outbox) -> str:
        return row.channel or NOTHING

    @column("run")
    def shown_run(self, row: Outbox) -> str:
        return self.link(Run, row.found_run, str(row.found_run))  # type: ignore[attr-defined]

    @column("written")
    def written(self, row: Outbox) -> Any:
        return row.created_at

    @column("set aside")
    def aside(self, row: Outbox) -> Any:
        return row.failed_at


def _recipient(channel: str | None) -> UUID | None:
    return _uuid(channel.removeprefix(OWN)) if channel is not None and channel.startswith(OWN) else None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text).bit_length() <= INTEGER_BITS


def _db(rows: Sequence[Any]) -> str:
    return next((row._state.db for row in rows if row._state.db), "default")
