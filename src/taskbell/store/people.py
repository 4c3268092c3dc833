"""From an account's key to the recipient channel that only its owner reads."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Max, QuerySet

from taskbell.models import Outbox, Recipient
from taskbell.store.forgotten import FORGET, since_of

INTEGER_BITS: Final = 63
# Written out: pages and handshakes ask this, and Django took over twenty times as long to put it together as SQLite to
# answer it. In one statement, or a tick in between could make an old recipient look like a new one.
_RECIPIENTS: Final = f"""
select r.user_key, r.id, exists (
    select 1 from {Outbox._meta.db_table} o where o.kind = '{FORGET}' and o.user_key = r.user_key)
from {Recipient._meta.db_table} r where r.user_key in ({{places}})
"""
# The header in which streams and the API say whose they are.
ACCOUNT_HEADER: Final = "Taskbell-Account"
ACCOUNT_LENGTH: Final = 20


def account_name(user_key: str) -> str:
    """Return the name by which pages, streams and the API's answers tell accounts apart; it opens nothing.

    Not keyed, or a new SECRET_KEY would make strangers of all pages that are open.
    """
    return sha256(f"taskbell.account/{user_key}".encode()).hexdigest()[:ACCOUNT_LENGTH]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a person reads. What was asked for before `since` was for another, who had the same key."""

    channel: str
    since: datetime | None = None


def forgotten_upto(user_key: str, alias: str) -> int:
    """Return the newest waiting outbox row that has this key forgotten, 0 if there is none.

    What waits before it, and the recipient until then, are another's: of the account that had the key before.
    """
    waiting = Outbox.objects.using(alias).filter(kind=FORGET, user_key=user_key)
    return waiting.aggregate(newest=Max("id"))["newest"] or 0


def recipient_of(user_key: str, alias: str) -> UUID | None:
    """Return the recipient of an account, None if it has none yet."""
    return recipients_of([user_key], alias).get(user_key)


def recipients_of(user_keys: Collection[str], alias: str) -> dict[str, UUID | None]:
    """Return the recipient of each key that has one, None as long as that is of the account that had the key before."""
    if not user_keys:
        return {}
    places = ", ".join(["%s"] * len(user_keys))
    with connections[alias].cursor() as cursor:
        cursor.execute(_RECIPIENTS.format(places=places), list(user_keys))
        return {key: None if leaving else UUID(str(id)) for key, id, leaving in cursor.fetchall()}


def addresses_of(user_keys: Iterable[str], alias: str) -> dict[str, Address]:
    """Return the address of each key, creating recipients; a key whose account is not visible is left out."""
    wanted = set(user_keys)
    known = _known(wanted, alias)
    if new := visible(wanted - known.keys()):
        create(new, alias)
        known |= _known(new, alias)
    return known


def user_of(recipient: UUID, alias: str) -> AbstractBaseUser | None:
    """Return the account of a recipient if it is there and may sign in."""
    user_key = Recipient.objects.using(alias).filter(id=recipient).values_list("user_key", flat=True).first()
    pk = as_pk(user_key) if user_key is not None else None
    user = _accounts().filter(pk=pk).first() if pk is not None else None
    return user if user is not None and user.is_active else None


def active(user_keys: Iterable[str]) -> set[str]:
    """Return those of the keys whose accounts are there and active."""
    pks = [pk for key in set(user_keys) if (pk := as_pk(key)) is not None]
    return {str(account.pk) for account in _accounts().filter(pk__in=pks) if account.is_active}


def channels_of(user_keys: Iterable[str], alias: str) -> dict[str, str]:
    """Return the channel of each key; as `addresses_of`."""
    return {key: address.channel for key, address in addresses_of(user_keys, alias).items()}


def create(user_keys: Collection[str], alias: str) -> None:
    """Create the recipients of visible accounts; harmless where they exist."""
    since = since_of(user_keys, alias)
    Recipient.objects.using(alias).bulk_create(
        [Recipient(user_key=key, since=since.get(key)) for key in sorted(user_keys)], ignore_conflicts=True
    )


def visible(user_keys: Collection[str]) -> set[str]:
    """Return those of the keys whose accounts are there."""
    if not user_keys:
        return set()
    pks = [pk for key in user_keys if (pk := as_pk(key)) is not None]
    # A database may give a key back in another form (padded, in other case): that is another key to us.
    return set(user_keys) & {str(pk) for pk in _accounts().filter(pk__in=pks).values_list("pk", flat=True)}


def _accounts() -> QuerySet[AbstractBaseUser]:
    return get_user_model()._base_manager.using(router.db_for_write(get_user_model()))


def _known(user_keys: set[str], alias: str) -> dict[str, Address]:
    if not user_keys:
        return {}
    found = Recipient.objects.using(alias).filter(user_key__in=user_keys)
    return {recipient.user_key: Address(recipient.channel, recipient.since) for recipient in found}


def as_pk(key: str) -> Any:
    """Return the primary key that a key is the text of, None where no account can have it."""
    try:
        pk = get_user_model()._meta.pk.to_python(key)
    except (ValidationError, ValueError):
        return None
    # SQLite refuses to look for a wider integer, and the whole batch with it; no table has one.
    return None if isinstance(pk, int) and pk.bit_length() > INTEGER_BITS else pk
