"""Signals to receivers of projects: after the commit, of what is so, and whoever raises disturbs nobody."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from taskbell import notify
from taskbell.announcer import Announcer
from taskbell.counts import counted
from taskbell.inbox.read import mark
from taskbell.models import Log, Notification, Outbox, Place, Run
from taskbell.runs.states import ENDINGS
from taskbell.signals import notified, run_ended
from taskbell.store.control import ControlEvent, tell
from taskbell.store.head import create_head, new_epoch
from taskbell.store.outbox import key_of
from taskbell.store.tick import Moved, Ticker
from tests.inbox.telling import READ_ALL
from tests.runs.telling import SECOND, Life, TreeLife
from tests.runs.telling import tell as tell_facts

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

User = get_user_model()
ALIAS = "default"


@pytest.fixture
def announcer() -> Iterator[Announcer]:
    """One that has begun, while somebody listened."""
    create_head(ALIAS)
    announcer = Announcer()
    with listening(notified):
        announcer.step(ALIAS)
    return announcer


@contextmanager
def listening(
    signal: Signal, receiver: Callable[..., Any] | None = None, **options: Any
) -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def hear(**values: Any) -> None:
        heard.append(values)

    receiver = receiver or hear
    signal.connect(receiver, **options)
    try:
        yield heard
    finally:
        signal.disconnect(receiver, **options)


def tick() -> None:
    """Number what waits, as `deliver` does, but for the signals."""
    ticker = Ticker(ALIAS)
    while isinstance(answer := ticker.tick(), Moved) and (answer.rows or answer.more):
        pass


class TestNotified:
    def test_says_what_and_to_whom_and_how(self, announcer: Announcer, ada: Any) -> None:
        with listening(notified) as heard:
            notify(ada, "Ready", body="Seven pages", via=["page", "email"])
            notify(ada, "Quietly", via=["email"])
            announcer.step(ALIAS)
            assert heard == []
            tick()
            announcer.step(ALIAS)
            announcer.step(ALIAS)
        assert [(one["notification"].title, one["user"], one["via"], one["sender"]) for one in heard] == [
            ("Ready", ada, ("page", "email"), Notification),
            ("Quietly", ada, ("email",), Notification),
        ]
        assert heard[0]["notification"].body == "Seven pages"

    def test_nobody_hears_of_what_was_rolled_back(self, announcer: Announcer, ada: Any) -> None:
        with listening(notified) as heard:
            with transaction.atomic():
                notify(ada, "Never")
                transaction.set_rollback(True)
            tick()
            announcer.step(ALIAS)
        assert heard == []

    def test_a_key_is_heard_once(self, announcer: Announcer, ada: Any) -> None:
        with listening(notified) as heard:
            for _ in range(3):
                notify(ada, "Ready", key="k")
                tick()
                announcer.step(ALIAS)
        assert len(heard) == 1

    def test_being_seen_is_no_news(self, announcer: Announcer, ada: Any) -> None:
        with listening(notified) as heard:
            notify(ada, "Ready")
            tick()
            mark(ada, READ_ALL)
            tick()
            announcer.step(ALIAS)
        [one] = heard
        # As it is when the signal is sent, so that a receiver may leave out what was read.
        assert one["notification"].read_at is not None

    def test_of_whoever_is_gone_or_shut_out_nothing_is_sent(self, announcer: Announcer, ada: Any) -> None:
        bob = User.objects.create(username="bob")
        with listening(notified) as heard:
            notify([ada, bob], "Ready")
            tick()
            User.objects.filter(pk=bob.pk).update(is_active=False)
            tell([ControlEvent("deleted", key_of(ada))], ALIAS)
            tick()
            announcer.step(ALIAS)
        assert heard == []

    def test_of_what_was_blanked_or_is_no_event_nothing_is_sent(self, announcer: Announcer, ada: Any) -> None:
        with listening(notified) as heard:
            for payload in ("", "{}", "[]", "x", '{"id":"x"}', '{"id":5}'):
                notify(ada, "Ready")
                tick()
                Log.objects.filter(seq=Log.objects.latest("seq").seq).update(payload=payload)
            notify(ada, "Sound")
            tick()
            announcer.step(ALIAS)
        assert [one["notification"].title for one in heard] == ["Sound"]


class TestRunEnded:
    @pytest.mark.parametrize("ending", sorted(ENDINGS - {"skipped"}))
    def test_says_how(self, announcer: Announcer, ada: Any, ending: Any) -> None:
        life = Life(ada)
        with listening(run_ended) as heard:
            tell_facts(life("queued"), life("started"), life("progress", done=1.0))
            tick()
            announcer.step(ALIAS)
            assert heard == []
            tell_facts(life(ending, error_message="It broke."), life("progress", done=2.0))
            tick()
            announcer.step(ALIAS)
        [one] = heard
        assert (one["run"].state, one["run"].label, one["user"], one["sender"]) == (ending, "Resizing photo", ada, Run)
        assert one["run"].as_json()["id"] == life.identity.run

    def test_that_was_taken_back_is_not_sent_and_its_real_end_is(self, announcer: Announcer, ada: Any) -> None:
        life = Life(ada)
        with listening(run_ended) as heard:
            tell_facts(life("started"), life("lost"), life("started", execution=SECOND))
            tick()
            announcer.step(ALIAS)
            assert heard == []
            tell_facts(life("succeeded", execution=SECOND))
            tick()
            announcer.step(ALIAS)
        assert [one["run"].state for one in heard] == ["succeeded"]

    def test_of_a_run_with_steps_is_sent_for_the_whole(self, announcer: Announcer, ada: Any) -> None:
        tree = TreeLife(ada)
        with listening(run_ended) as heard:
            tell_facts(tree.close(2), tree.step(0)("succeeded"), tree.step(1)("failed"))
            tick()
            announcer.step(ALIAS)
        assert [(one["run"].label, one["run"].state) for one in heard] == [("Import 42", "failed")]


class TestReceivers:
    def test_that_raise_do_not_stop_the_others_and_are_told_once_a_minute(
        self, announcer: Announcer, ada: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(**values: Any) -> None:
            raise RuntimeError("no mail today")

        failures = counted().get(("receiver_failures_total", ""), 0)
        with listening(notified, broken), listening(notified, partial(broken)), listening(notified) as heard:
            for n in range(5):
                notify(ada, f"{n}")
            tick()
            announcer.step(ALIAS)
        assert [one["notification"].title for one in heard] == ["0", "1", "2", "3", "4"]
        assert [record.name for record in caplog.records] == ["taskbell"] * 2
        assert "no mail today" in caplog.text
        assert counted()["receiver_failures_total", ""] == failures + 10

    def test_may_be_coroutines_and_name_their_sender(self, announcer: Announcer, ada: Any) -> None:
        heard: list[str] = []

        async def hear(notification: Notification, **values: Any) -> None:
            heard.append(notification.title)

        with listening(notified, hear, sender=Notification):
            notify(ada, "Ready")
            tick()
            announcer.step(ALIAS)
        assert heard == ["Ready"]

    def test_without_any_nothing_is_asked(self, ada: Any) -> None:
        notify(ada, "Ready")
        tick()
        with CaptureQueriesContext(connection) as captured:
            Announcer().step(ALIAS)
        assert len(captured) == 0
        assert not Place.objects.exists()

    def test_that_are_slow_keep_the_place_as_they_go(self, ada: Any) -> None:
        """So that whoever takes over tells little twice."""
        now = [0.0]
        announcer, places = Announcer(lambda: now[0]), []

        def slow(**values: Any) -> None:
            places.append(Place.objects.get().seq)
            now[0] += 2

        create_head(ALIAS)
        with listening(notified, slow):
            announcer.step(ALIAS)
            for n in range(3):
                notify(ada, f"{n}")
            tick()
            announcer.step(ALIAS)
        assert places == [0, 1, 2]

    def test_hear_no_more_from_a_process_that_was_taken_for_dead(self, announcer: Announcer, ada: Any) -> None:
        now = [0.0]
        heard: list[str] = []
        first = Announcer(lambda: now[0])
        second = Announcer(lambda: now[0])

        def slow(notification: Notification, **values: Any) -> None:
            heard.append(notification.title)
            if len(heard) == 1:
                second.step(ALIAS)
                now[0] += 60
                second.step(ALIAS)

        Place.objects.all().delete()
        with listening(notified, slow):
            first.step(ALIAS)
            for n in range(3):
                notify(ada, f"{n}")
            tick()
            first.step(ALIAS)
        assert heard == ["0", "0", "1", "2"]

    def test_that_may_be_asked_in_a_gateway_go_on_after_a_new_epoch(self, announcer: Announcer, ada: Any) -> None:
        with listening(notified) as heard:
            notify(ada, "before")
            tick()
            new_epoch(ALIAS)
            announcer.step(ALIAS)
            notify(ada, "after")
            tick()
            announcer.step(ALIAS)
        assert [one["notification"].title for one in heard] == ["after"]
        assert not Outbox.objects.exists()
