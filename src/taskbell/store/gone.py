"""Accounts that went without a signal, as by SQL: found out by looking through all recipients, a piece at a time."""

import time
from collections.abc import Callable
from typing import Any, Final

from django.db.models import Model

from taskbell.conf import current
from taskbell.models import Forgotten, PushSubscription, Recipient
from taskbell.store.clock import PatientClock
from taskbell.store.control import ControlEvent, tell
from taskbell.store.people import visible

STEP_SECONDS: Final = 60.0
# Looked at in one step: a thousand keys are two quick queries.
PIECE: Final = 1_000
# Nothing brings back what was erased, and tables of accounts are sometimes emptied and filled again.
SURE_SECONDS: Final = 3_600.0


class _Walk:
    """Goes through a table by its primary key, a piece at each call, and then from the start again."""

    def __init__(self, model: type[Model], field: str) -> None:
        self._model = model
        self._field = field
        self._after: Any = None

    def next(self, alias: str) -> dict[Any, Any]:
        """Return the values of the field by primary keys."""
        rows = self._model._default_manager.using(alias).order_by("pk")
        if self._after is not None:
            rows = rows.filter(pk__gt=self._after)
        found = dict(rows.values_list("pk", self._field)[:PIECE])
        self._after = [*found][-1] if len(found) == PIECE else None
        return found

    @property
    def is_over(self) -> bool:
        """Whether the next call begins from the start."""
        return self._after is None


class Gone:
    """What a process has seen of recipients without an account; `step` is called once a minute."""

    def __init__(self, wall: PatientClock | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wall = wall or PatientClock()
        self._recipients = _Walk(Recipient, "user_key")
        self._subscriptions = _Walk(PushSubscription, "recipient")
        self._missing: dict[str, float] = {}
        # Those of them that this walk has met.
        self._met: set[str] = set()

    def step(self, alias: str) -> int:
        """Have those forgotten whose account has been away for an hour; return how many that are.

        Push subscriptions without a recipient go, and the memory of those whose tasks cannot run any more.
        """
        gone = self._look(alias)
        tell([ControlEvent("deleted", key) for key in gone], using=alias)
        self._drop_subscriptions(alias)
        self._wall.look(alias)
        Forgotten.objects.using(alias).filter(erased_at__lt=self._wall.ago(current().RUN_AGE)).delete()
        return len(gone)

    def _look(self, alias: str) -> list[str]:
        keys = set(self._recipients.next(alias).values())
        missing, now = keys - visible(keys), self._clock()
        self._met |= missing
        for key in missing:
            self._missing.setdefault(key, now)
        gone = [key for key in missing if self._missing[key] <= now - SURE_SECONDS]
        self._met.difference_update(gone)
        if self._recipients.is_over:  # whoever was not met is back, or forgotten
            self._missing = {key: self._missing[key] for key in self._met}
            self._met = set()
        return gone

    def _drop_subscriptions(self, alias: str) -> None:
        found = self._subscriptions.next(alias)
        there = set(Recipient.objects.using(alias).filter(id__in=set(found.values())).values_list("id", flat=True))
        orphans = [id for id, recipient in found.items() if recipient not in there]
        PushSubscription.objects.using(alias).filter(id__in=orphans).delete()
