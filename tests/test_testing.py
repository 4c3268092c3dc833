"""What projects test with: captured events, and a gateway's work done by hand."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import TestCase
from django.utils.translation import gettext_lazy

from taskbell import get_run, notify, publish, publish_many
from taskbell.models import Log, Notification
from taskbell.signals import notified
from taskbell.store.head import create_head
from taskbell.testing import Notified, Published, capture, deliver
from tests.runs.telling import Life, tell

User = get_user_model()


class InATestCase(TestCase):
    """As projects use it: the transaction of the test is never committed."""

    def setUp(self) -> None:
        self.ada, self.bob = (User.objects.create(username=name) for name in ("ada", "bob"))

    def test_what_is_published_is_captured_in_order(self) -> None:
        publish(self.ada, "message", "before")
        with capture() as published:
            publish(self.ada, "message", {"photo": 42})
            publish_many([("public:news", "message", 1), (self.bob, "message", None)])
            assert len(published) == 3
            publish(self.ada, "done", [])
        publish(self.ada, "message", "after")
        assert published.to(self.ada) == [("message", {"photo": 42}), ("done", [])]
        assert published.to("public:news") == [("message", 1)]
        assert published.to(self.bob) == [("message", None)]
        assert published.events[1] == Published("message", 1, channel="public:news")

    def test_what_is_rolled_back_is_not(self) -> None:
        with capture() as published:
            with transaction.atomic():
                publish(self.ada, "message", 1)
                transaction.set_rollback(True)
            publish(self.ada, "message", 2)
        assert published.to(self.ada) == [("message", 2)]

    def test_notifications_are_captured_apart(self) -> None:
        notify(self.ada, "before")
        with capture() as captured:
            notify([self.ada, self.bob], "Ready", url="/reports/7/", level="success", key="k", via=["page"])
            notify(self.ada, gettext_lazy("Yes"))
            with transaction.atomic():
                notify(self.ada, "Never")
                transaction.set_rollback(True)
            publish(self.ada, "message", 1)
            assert len(captured.notifications()) == 3
        deliver()
        notify(self.ada, "after")
        first = Notified(str(self.ada.pk), "Ready", url="/reports/7/", level="success", key="k", via=["page"])
        assert captured.notifications(self.ada)[0] == first
        assert [one.title for one in captured.notifications(self.ada)] == ["Ready", "Yes"]
        assert [one.title for one in captured.notifications(self.bob)] == ["Ready"]
        assert captured.notifications(self.ada)[1].via == ["page", "push"]
        assert len(captured) == 1

    def test_delivering_lets_receivers_hear(self) -> None:
        heard = []

        def hear(notification: Notification, **values: Any) -> None:
            heard.append(notification.title)

        notified.connect(hear)
        self.addCleanup(notified.disconnect, hear)
        notify(self.ada, "Ready")
        deliver()
        assert heard == ["Ready"]

    def test_captures_may_be_nested(self) -> None:
        with capture() as outer:
            publish("public:news", "message", 1)
            with capture() as inner:
                publish("public:news", "message", 2)
        assert (len(outer), len(inner)) == (2, 1)

    def test_facts_of_tasks_are_no_events(self) -> None:
        with capture() as published:
            tell(Life(self.ada)("queued"))
        assert published.events == []

    def test_delivering_is_what_a_gateway_would_do(self) -> None:
        life = Life(self.ada)
        tell(life("queued"), life("started"))
        publish(self.ada, "message", 1)
        assert deliver() == 3
        assert deliver() == 0
        run = get_run(life.identity.task_id, self.ada)
        assert run is not None
        assert run.state == life.row.state == "running"
        assert Log.objects.count() == 3

    def test_a_captured_event_may_be_delivered_and_stays_captured(self) -> None:
        with capture() as published:
            publish(self.ada, "message", 1)
        deliver()
        assert published.to(self.ada) == [("message", 1)]


@pytest.mark.django_db
def test_more_than_one_batch_is_delivered() -> None:
    create_head("default")
    publish_many(("public:news", "message", n) for n in range(2_500))
    assert deliver() == 2_500


@pytest.mark.django_db
def test_an_exception_passes_through_a_capture() -> None:
    with pytest.raises(ZeroDivisionError), capture():
        publish("public:news", "message", 1 // 0)
    with capture() as captured:
        publish("public:news", "message", 1)
    assert len(captured) == 1
