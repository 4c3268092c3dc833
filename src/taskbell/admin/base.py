"""What all our pages in Django's admin have in common: they only show, never count a whole table, and are live.

Content (what a task said, the text of a notification) is for those with the permission `taskbell.view_content` alone;
payloads of events are for nobody.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from taskbell.admin.people import People
from taskbell.store.control import ACTIVITY_CHANNEL

# More rows than these are never counted and never listed; what is older is found by searching.
MOST_ROWS: Final = 1_000
CONTENT: Final = "taskbell.view_content"
NOTHING: Final = "–"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts up to MOST_ROWS: counting a log of millions takes longer than reading a page of it."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[:MOST_ROWS].count())


class PreparedChangeList(ChangeList):
    """Lets its admin look up at once whatever the rows of a page point at."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        self.model_admin.prepare(request, self.result_list)  # type: ignore[attr-defined]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows rows to staff who may view them."""

    paginator = BoundedPaginator
    show_full_result_count = False
    # Each facet would be a count of its own.
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    sortable_by = ()
    #: Seconds after which an open page looks anew though nothing was told; 0 is never.
    every: float = 0
    #: Fields that are content, and left out for those who may not see it.
    content: Sequence[str] = ()
    shown: Sequence[str] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PreparedChangeList

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self._seen(request, self.shown)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self._seen(request, self.shown)

    def get_list_display(self, request: HttpRequest) -> Any:
        return self._seen(request, self.list_display)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            self.prepare(request, [found])
        return found

    def prepare(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Look up what these rows point at, by few queries however many they are."""
        self.name_people(request, {row: row.recipient for row in rows})

    def name_people(self, request: HttpRequest, recipients: dict[Any, UUID | None]) -> None:
        """Give each row the person whose recipient it names."""
        people = People.of({one for one in recipients.values() if one is not None}, _alias(recipients))
        for row, recipient in recipients.items():
            row.shown_person = people.shown(recipient, self.admin_site, request)

    @admin.display(description="person")
    def person(self, row: Any) -> str:
        return str(row.shown_person)

    @property
    def media(self) -> forms.Media:
        if not (address := _activity()):
            return super().media
        live = forms.Script("taskbell/admin.js", type="module", **{"data-activity": address, "data-every": self.every})
        return super().media + forms.Media(
            js=[live],  # type: ignore[list-item]
            css={"all": ["taskbell/admin.css"]},
        )

    def link(self, model: type[models.Model], pk: Any, text: str) -> str:
        """Return a link to the page of a row of ours; text where there is none."""
        if pk is None:
            return NOTHING
        return format_html('<a href="{}">{}</a>', self.address(model, "change", pk), text)

    def list_link(self, model: type[models.Model], text: str, **query: Any) -> str:
        """Return a link to a list of rows of ours."""
        return format_html('<a href="{}?{}">{}</a>', self.address(model, "changelist"), urlencode(query), text)

    def address(self, model: type[models.Model], page: str, *args: Any) -> str:
        """Return the address of a page of this admin site."""
        return reverse(f"{self.admin_site.name}:taskbell_{model._meta.model_name}_{page}", args=args)

    def _seen(self, request: HttpRequest, fields: Iterable[Any]) -> list[Any]:
        if request.user.has_perm(CONTENT):
            return list(fields)
        return [field for field in fields if field not in self.content]


def column(description: str) -> Callable[[Any], Any]:
    """Make a method a column; no column can be sorted by, because a table of millions would be sorted."""
    return admin.display(description=description, empty_value=NOTHING)


def _alias(rows: Iterable[Any]) -> str:
    return next((row._state.db for row in rows), "default") or "default"


def _activity() -> str:
    try:
        return f"{reverse('taskbell-events:own')}?{urlencode({'channel': ACTIVITY_CHANNEL})}"
    except NoReverseMatch:  # no stream has an address here: the pages are as other pages of the admin
        return ""
