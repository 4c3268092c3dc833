"""Who was forgotten: an address that is being erased, and a memory of its key.

The memory is kept as long as tasks of that time may still run. It holds no key but a name made of it with the site's
secret, so nobody reads off it who is gone.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from django.conf import settings
from django.utils.crypto import salted_hmac

from taskbell.models import Forgotten, Outbox, Recipient
from taskbell.store.clock import moment, read_clock

SALT: Final = "taskbell.forgotten"
FORGET: Final = "forget"


def name_of(user_key: str, secret: str | bytes | None = None) -> str:
    """Return what stands for a key where it must not be read."""
    return salted_hmac(SALT, user_key, secret=secret, algorithm="sha256").hexdigest()


def since_of(user_keys: Iterable[str], alias: str) -> dict[str, datetime]:
    """Return when each of these keys was forgotten last, as far as it was."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    keys = {name_of(key, secret): key for key in user_keys for secret in secrets}
    if not keys:
        return {}
    found = Forgotten.objects.using(alias).filter(name__in=keys).order_by("since")
    return {keys[name]: since for name, since in found.values_list("name", "since")}


def forget(rows: Iterable[Outbox], alias: str) -> dict[int, UUID | None]:
    """Take the address of each row's account away; return, by the row's id, which that was.

    For the tick alone. All that costs time is left to `store.erase`: nobody can read it any more.
    """
    newest = {row.user_key: row for row in rows if row.user_key is not None}
    recipients = Recipient.objects.using(alias).filter(user_key__in=newest)
    addresses = dict(recipients.values_list("user_key", "id"))
    now = moment(read_clock(alias))
    Forgotten.objects.using(alias).bulk_create([
        Forgotten(recipient=addresses.get(key) or uuid4(), name=name_of(key), since=row.created_at, forgotten_at=now)
        for key, row in newest.items()
    ])  # fmt: skip
    recipients.delete()
    _delete_set_aside(newest, alias)
    return {row.id: addresses.get(key) for key, row in newest.items()}


def _delete_set_aside(newest: dict[str, Outbox], alias: str) -> None:
    """Delete what could not be folded; what waits is dropped by the tick, which goes by the same order."""
    aside = Outbox.objects.using(alias).filter(user_key__in=newest, failed_at__isnull=False)
    found = aside.values_list("id", "user_key")
    ids = [id for id, key in found if key is not None and id < newest[key].id]
    Outbox.objects.using(alias).filter(id__in=ids).delete()
