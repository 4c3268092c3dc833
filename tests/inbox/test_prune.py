"""Notifications go after NOTIFICATION_AGE, read or not."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from taskbell import notify
from taskbell.inbox.prune import prune_notifications
from taskbell.inbox.push.message import LIFE_SECONDS
from taskbell.inbox.read import list_notifications
from taskbell.models import Notification
from taskbell.store.clock import PatientClock
from taskbell.testing import deliver
from tests.inbox.telling import read, row

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

ALIAS = "default"
AGE = 100


@pytest.fixture(autouse=True)
def _age() -> Any:
    with override_settings(TASKBELL={"NOTIFICATION_AGE": AGE}):
        yield


def notified(to: Any, title: str, age: float) -> None:
    notify(to, title)
    deliver()
    Notification.objects.filter(title=title).update(created_at=timezone.now() - timedelta(seconds=age))


def test_old_ones_go_read_or_not(ada: Any, bob: Any) -> None:
    for title, age in (("young", AGE - 10), ("old", AGE + 10), ("old and read", AGE + 10)):
        notified(ada, title, age)
    notified(bob, "Bob's", AGE + 10)
    read(ada, row("old and read").id)
    deliver()
    assert prune_notifications(ALIAS) == 3
    assert prune_notifications(ALIAS) == 0
    page = list_notifications(ada)
    assert ([one.title for one in page.notifications], page.unread) == (["young"], 1)


def test_a_clock_that_is_set_forward_deletes_nothing_too_early(ada: Any) -> None:
    notified(ada, "kept", AGE - 10)
    now, set_by, began = 0.0, 0.0, time.time()
    clock = PatientClock(lambda alias: began + now + set_by, lambda: now)
    assert prune_notifications(ALIAS, clock) == 0
    set_by = 10 * 365 * 86_400.0
    assert prune_notifications(ALIAS, clock) == 0
    now += 11
    assert prune_notifications(ALIAS, clock) == 1


def test_what_came_while_the_clock_was_ahead_counts_from_now_on(ada: Any) -> None:
    notified(ada, "ahead", -(10**8))
    prune_notifications(ALIAS)
    assert row("ahead").created_at <= timezone.now()


def test_more_than_one_batch_goes(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.store.batches.BATCH_ROWS", 2)
    for n in range(5):
        notified(ada, f"{n}", AGE + 10)
    assert prune_notifications(ALIAS) == 5


@override_settings(TASKBELL={"NOTIFICATION_AGE": 3 * LIFE_SECONDS})
def test_web_push_that_nobody_could_send_is_not_due_for_ever(ada: Any) -> None:
    for title, overdue in (("news", LIFE_SECONDS - 60), ("a day late", LIFE_SECONDS + 60)):
        notified(ada, title, overdue)
        Notification.objects.filter(title=title).update(push_at=timezone.now() - timedelta(seconds=overdue))
    assert prune_notifications(ALIAS) == 0
    assert [(one.title, one.push_at is None) for one in Notification.objects.order_by("seq")] == [
        ("news", False), ("a day late", True),
    ]  # fmt: skip
