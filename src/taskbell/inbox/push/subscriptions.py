"""Who takes Web Push where: a browser's subscription, checked before it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import router, transaction
from django.utils import timezone

from taskbell.inbox.push.endpoint import check_endpoint, digest
from taskbell.models import PushSubscription

# More browsers than one person uses; the one that was longest not heard of goes.
MOST_A_PERSON: Final = 16


class Taken(Exception):
    """Another account has this endpoint, with other keys: whoever asks has only heard of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a browser gave us, fit to be kept."""

    endpoint: str
    p256dh: str
    auth: str


def read(values: Any, hosts: Sequence[str]) -> Subscription:
    """Return what `PushSubscription.toJSON()` says; raises ValueError with a reason that repeats nothing of it."""
    keys = values.get("keys") if isinstance(values, Mapping) else None
    endpoint = values.get("endpoint") if isinstance(values, Mapping) else None
    if not isinstance(keys, Mapping) or not isinstance(endpoint, str):
        raise ValueError('Send a browser\'s subscription: {"endpoint": …, "keys": {"p256dh": …, "auth": …}}.')
    check_endpoint(endpoint, hosts)
    from taskbell.inbox.push.keys import check_auth, check_p256dh  # wants the extra; dropping one does not

    try:
        return Subscription(endpoint=endpoint, p256dh=check_p256dh(keys["p256dh"]), auth=check_auth(keys["auth"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError("`p256dh` is no point of the curve P-256 in 65 bytes, or `auth` is not 16 bytes.") from None


def save(subscription: Subscription, recipient: UUID, origin: str) -> None:
    """Keep a subscription; one of another account moves, if the keys show that it is the same browser.

    Raises `Taken` if they do not.
    """
    alias = router.db_for_write(PushSubscription)
    rows = PushSubscription.objects.using(alias)
    values = {
        "recipient": recipient,
        "endpoint": subscription.endpoint,
        "p256dh": subscription.p256dh,
        "auth": subscription.auth,
        "origin": origin,
        "created_at": timezone.now(),
    }
    with transaction.atomic(using=alias):
        row, is_new = rows.select_for_update().get_or_create(
            endpoint_sha256=digest(subscription.endpoint), defaults=values
        )
        if not is_new:
            if row.recipient != recipient and (row.p256dh, row.auth) != (subscription.p256dh, subscription.auth):
                raise Taken
            rows.filter(id=row.id).update(**values)
        newest = rows.filter(recipient=recipient).order_by("-created_at", "id").values_list("id", flat=True)
        rows.filter(id__in=list(newest[MOST_A_PERSON:])).delete()


def find(endpoint: str, recipient: UUID) -> PushSubscription | None:
    """Return a person's own subscription."""
    rows = PushSubscription.objects.using(router.db_for_write(PushSubscription))
    return rows.filter(endpoint_sha256=digest(endpoint), recipient=recipient).first()
