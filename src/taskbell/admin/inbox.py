"""Notifications: who was told, when, and whether they saw it."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from taskbell.admin.base import NOTHING, ReadOnlyAdmin, column
from taskbell.admin.people import recipients_of
from taskbell.models import Notification, Run


class ReadFilter(admin.SimpleListFilter):
    """What was read, and what was not."""

    title = "read"
    parameter_name = "read"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        yield from (("no", "unread"), ("yes", "read"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notification]) -> QuerySet[Notification]:
        return queryset if self.value() is None else queryset.filter(read_at__isnull=self.value() == "no")


class LevelFilter(admin.SimpleListFilter):
    """One level."""

    title = "level"
    parameter_name = "level"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(level, level) for level in ("info", "success", "warning", "error")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notification]) -> QuerySet[Notification]:
        return queryset if self.value() is None else queryset.filter(level=self.value())


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = (
        "told_at",
        "person",
        "shown_level",
        "shown_kind",
        "shown_title",
        "shown_run",
        "seen",
        "read",
        "push",
    )
    list_filter = (ReadFilter, LevelFilter)
    ordering = ("-created_at",)
    search_fields = ("kind",)
    search_help_text = "A person's user name or key, or else a kind."
    content = ("shown_title", "body", "shown_url")
    shown = (
        "person", "told_at", "shown_level", "shown_kind", "shown_title", "body", "shown_url", "shown_run", "seen",
        "read", "push", "id", "seq",
    )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Notification], search_term: str
    ) -> tuple[QuerySet[Notification], bool]:
        term = search_term.strip()
        if not term or "\0" in term:
            return (queryset if not term else queryset.none()), False
        people = recipients_of(term, queryset.db)
        return queryset.filter(recipient__in=people) if people else queryset.filter(kind=term), False

    @column("told")
    def told_at(self, row: Notification) -> Any:
        return row.created_at

    @column("level")
    def shown_level(self, row: Notification) -> str:
        return format_html('<span class="taskbell-state taskbell-{}">{}</span>', row.level, row.level)

    @column("kind")
    def shown_kind(self, row: Notification) -> str:
        return row.kind or NOTHING

    @column("title")
    def shown_title(self, row: Notification) -> str:
        return row.title

    @column("address")
    def shown_url(self, row: Notification) -> str:
        return row.url or NOTHING

    @column("run")
    def shown_run(self, row: Notification) -> str:
        return self.link(Run, row.run, "run")

    @column("seen")
    def seen(self, row: Notification) -> Any:
        return row.seen_at

    @column("read")
    def read(self, row: Notification) -> Any:
        return row.read_at

    @column("push due")
    def push(self, row: Notification) -> Any:
        return row.push_at
