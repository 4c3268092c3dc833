"""Who is behind recipients, for a page of rows: two queries, however many there are."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.admin import AdminSite
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from taskbell.models import Recipient
from taskbell.store.people import as_pk


@dataclass(frozen=True, slots=True)
class People:
    """Accounts by recipients and by keys."""

    keys: dict[UUID, str]
    accounts: dict[str, Any]

    @classmethod
    def of(cls, recipients: Collection[UUID], alias: str) -> "People":
        """Look up the people of these recipients."""
        found = Recipient.objects.using(alias).filter(id__in=recipients) if recipients else []
        keys = {recipient.id: recipient.user_key for recipient in found}
        return cls(keys, _accounts(set(keys.values())))

    @classmethod
    def by_key(cls, keys: Collection[str]) -> "People":
        """Look up the people of these keys."""
        return cls({}, _accounts(keys))

    def shown(self, recipient: UUID | None, site: AdminSite, request: HttpRequest) -> str:
        """Return the person of a recipient as text or, for those who may see accounts, as a link."""
        if recipient is None:
            return "–"
        key = self.keys.get(recipient)
        return self.shown_key(key, site, request) if key is not None else "a forgotten person"

    def shown_key(self, key: str, site: AdminSite, request: HttpRequest) -> str:
        """Return the person of a key, likewise."""
        account = self.accounts.get(key)
        if account is None:
            return f"key {key}"
        model = type(account)
        page = site._registry.get(model)
        if page is None or not page.has_view_permission(request, account):
            return str(account.get_username())
        address = reverse(f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_change", args=[account.pk])
        return format_html('<a href="{}">{}</a>', address, account.get_username())


def searched(text: str) -> list[str]:
    """Return the keys of the accounts with this user name or primary key."""
    users = get_user_model()
    pk = as_pk(text)
    asked = Q(**{users.USERNAME_FIELD: text}) | (Q(pk=pk) if pk is not None else Q())
    return [str(found) for found in _all().filter(asked).values_list("pk", flat=True)[:2]]


def recipients_of(text: str, alias: str) -> list[UUID]:
    """Return the recipients of those accounts."""
    return list(Recipient.objects.using(alias).filter(user_key__in=searched(text)).values_list("id", flat=True))


def _accounts(keys: Collection[str]) -> dict[str, Any]:
    pks = [pk for key in keys if (pk := as_pk(key)) is not None]
    return {str(account.pk): account for account in _all().filter(pk__in=pks)} if pks else {}


def _all() -> Any:
    return get_user_model()._base_manager.using(router.db_for_read(get_user_model()))
