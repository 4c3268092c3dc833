"""Retention: what is told before it goes, and what must stay."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskbell import publish, publish_many
from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.models import Log, LogHead, Outbox
from taskbell.store import prune as module
from taskbell.store.clock import PatientClock
from taskbell.store.head import create_head, read_head
from taskbell.store.log import Lost, place_of_head, read_after
from taskbell.store.prune import PROGRESS_SECONDS, Pruned, prune
from taskbell.store.tick import Ticker
from tests.store.folding import fact, folding

ALIAS = "default"
HOUR = timedelta(hours=1)
pytestmark = [pytest.mark.contract, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def settings_of_a_day() -> Any:
    with override_settings(TASKBELL={"EVENT_AGE": 24 * 3600}):
        yield


@pytest.fixture
def log() -> Callable[..., list[Cursor]]:
    """`log(2 * HOUR, HOUR)`: one event of each age, numbered in this order. Returns all places, from zero."""
    create_head(ALIAS)
    ticker = Ticker(ALIAS)

    def number(*ages: timedelta) -> list[Cursor]:
        for age in ages:
            publish("public:news", "message", 1)
            ticker.tick()
            Log.objects.filter(seq=read_head(ALIAS).seq).update(sequenced_at=timezone.now() - age)
        log_id = read_head(ALIAS).log_id
        rows = Log.objects.order_by("seq").values_list("seq", "nonce")
        return [Cursor(log_id, 0, NONCE_AT_ZERO), *(Cursor(log_id, *row) for row in rows)]

    return number


def seqs() -> list[int]:
    return list(Log.objects.order_by("seq").values_list("seq", flat=True))


def verdict(place: Cursor) -> str | list[int]:
    page = read_after(place, ALIAS)
    assert page is not None
    return page.reason if isinstance(page, Lost) else [row.seq for row in page.rows]


def test_old_events_go_and_their_readers_are_told(log: Callable[..., list[Cursor]]) -> None:
    places = log(26 * HOUR, 25 * HOUR, 23 * HOUR, HOUR)
    assert prune(ALIAS) == Pruned(log=2)
    assert seqs() == [3, 4]
    assert [verdict(place) for place in places] == ["expired", "expired", "expired", [4], []]
    assert prune(ALIAS) == Pruned()


def test_retention_counts_from_the_number_not_from_publishing(log: Callable[..., list[Cursor]]) -> None:
    log(HOUR)
    publish("public:news", "message", "waited for days while no gateway ran")
    Outbox.objects.update(created_at=timezone.now() - timedelta(days=9))
    Ticker(ALIAS).tick()
    assert prune(ALIAS) == Pruned()
    assert seqs() == [1, 2]


def test_the_setting_is_read_at_use(log: Callable[..., list[Cursor]]) -> None:
    log(3 * HOUR, HOUR)
    with override_settings(TASKBELL={"EVENT_AGE": 2 * 3600}):
        assert prune(ALIAS).log == 1
    assert seqs() == [2]


def test_the_newest_row_stays_however_old(log: Callable[..., list[Cursor]]) -> None:
    places = log(*[48 * HOUR] * 3)
    assert prune(ALIAS).log == 2
    assert seqs() == [3]
    # Who has read everything has missed nothing, and goes on.
    assert verdict(places[3]) == []
    assert read_head(ALIAS).floor == 3
    log(HOUR)
    assert verdict(places[3]) == [4]
    assert prune(ALIAS).log == 1


def test_a_clock_that_ran_behind_deletes_nothing_too_early(log: Callable[..., list[Cursor]]) -> None:
    log(25 * HOUR, HOUR, 48 * HOUR, HOUR)
    assert prune(ALIAS).log == 1
    assert seqs() == [2, 3, 4]


class Clocks:
    """A prune of a process that lives on, and its clocks: the monotonic one, and how far the other was set."""

    def __init__(self) -> None:
        self.now, self.set_by = 1_000.0, 0.0
        began = time.time() - self.now
        self._clock = PatientClock(lambda alias: began + self.now + self.set_by, lambda: self.now)
        self.prune()

    def prune(self) -> Pruned:
        return prune(ALIAS, self._clock)

    def wait(self, time: timedelta) -> None:
        """Let time pass, and look at the clocks in between as a gateway does."""
        for _ in range(10):
            self.now += time.total_seconds() / 10
            self._clock.look(ALIAS)


@pytest.mark.parametrize("years", [1, 10])
def test_a_clock_that_is_set_forward_deletes_nothing_too_early(log: Callable[..., list[Cursor]], years: int) -> None:
    log(25 * HOUR, 23 * HOUR, HOUR)
    clocks = Clocks()
    assert seqs() == [2, 3]
    log(timedelta(minutes=5))
    Log.objects.filter(seq=4).update(latest_key="run")
    clocks.set_by = years * 365 * 86_400
    assert clocks.prune() == Pruned()
    clocks.wait(2 * HOUR)
    assert clocks.prune() == Pruned(log=1, blanked=1)
    clocks.wait(23 * HOUR)
    log(-timedelta(seconds=clocks.set_by))
    assert clocks.prune().log == 2
    assert seqs() == [5]


def test_what_was_numbered_while_the_clock_was_ahead_goes_like_the_rest(log: Callable[..., list[Cursor]]) -> None:
    years = timedelta(days=3_650)
    log(23 * HOUR, -years, -years, HOUR)
    clocks = Clocks()
    assert seqs() == [1, 2, 3, 4], "nothing of it is known to be old"
    clocks.wait(2 * HOUR)
    assert clocks.prune().log == 1
    clocks.wait(21 * HOUR)
    assert clocks.prune().log == 0
    clocks.wait(5 * HOUR)
    assert clocks.prune().log == 2
    assert seqs() == [4]


def test_the_floor_rises_before_a_row_goes(log: Callable[..., list[Cursor]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two, a reader below the floor is told, and the next prune deletes the rest."""
    places = log(*[25 * HOUR] * 3, HOUR)

    class Killed(Exception):
        pass

    def killed(alias: str) -> int:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "_delete_below_floor", killed)
        with pytest.raises(Killed):
            prune(ALIAS)
    assert seqs() == [1, 2, 3, 4]
    assert verdict(places[1]) == "expired"
    assert verdict(places[4]) == []
    assert prune(ALIAS).log == 3


def test_rows_go_in_small_batches_lowest_first(
    log: Callable[..., list[Cursor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskbell.store.batches.BATCH_ROWS", 2)
    log(*[25 * HOUR] * 5, HOUR)
    with CaptureQueriesContext(connection) as captured:
        assert prune(ALIAS).log == 5
    deletes = [
        query["sql"] for query in captured.captured_queries if query["sql"].startswith('DELETE FROM "taskbell_log"')
    ]
    assert len(deletes) == 3
    assert not any("taskbell_log_head" in sql for sql in deletes)


def test_it_takes_no_transaction_for_the_head(log: Callable[..., list[Cursor]]) -> None:
    """A process that is stopped in one would keep every ticker out."""
    log(25 * HOUR, HOUR)
    with CaptureQueriesContext(connection) as captured:
        prune(ALIAS)
    for query in captured.captured_queries:
        assert "FOR UPDATE" not in query["sql"].upper()
        assert "SAVEPOINT" not in query["sql"]


def test_it_needs_no_head() -> None:
    assert prune(ALIAS) == Pruned()
    assert not LogHead.objects.exists()


def test_old_progress_is_blanked_and_keeps_its_place(log: Callable[..., list[Cursor]]) -> None:
    places = log(*[2 * HOUR] * 4)
    Log.objects.filter(seq__in=[1, 3]).update(latest_key="run-1", channel="user:x", payload='{"message":"secret"}')
    before = {row.seq: (row.nonce, row.sequenced_at) for row in Log.objects.all()}
    assert prune(ALIAS) == Pruned(blanked=2)
    assert {row.seq: (row.nonce, row.sequenced_at) for row in Log.objects.all()} == before
    blanked = Log.objects.filter(channel=None).order_by("seq")
    assert list(blanked.values_list("seq", "payload", "latest_key")) == [(1, "", None), (3, "", None)]
    assert [verdict(place) for place in places] == [[1, 2, 3, 4], [2, 3, 4], [3, 4], [4], []]
    assert prune(ALIAS) == Pruned()


def test_young_progress_stays(log: Callable[..., list[Cursor]]) -> None:
    log(timedelta(seconds=PROGRESS_SECONDS - 60), timedelta(seconds=PROGRESS_SECONDS + 60))
    Log.objects.update(latest_key="run-1")
    assert prune(ALIAS).blanked == 1
    assert Log.objects.get(seq=1).channel == "public:news"
    assert Log.objects.get(seq=2).channel is None


def test_failed_rows_go_by_the_same_age(log: Callable[..., list[Cursor]]) -> None:
    log(HOUR)
    for _ in range(3):
        fact("of tomorrow", 1)
    old, young, waiting = Outbox.objects.order_by("id")
    Outbox.objects.filter(id=old.id).update(failed_at=timezone.now() - 25 * HOUR)
    Outbox.objects.filter(id=young.id).update(failed_at=timezone.now() - HOUR)
    Outbox.objects.filter(id=waiting.id).update(created_at=timezone.now() - 99 * HOUR)
    assert prune(ALIAS) == Pruned(failed=1)
    assert list(Outbox.objects.order_by("id")) == [young, waiting]


def test_a_row_set_aside_can_be_tried_again(log: Callable[..., list[Cursor]]) -> None:
    """What `failed_at` sets aside comes back when it is taken away, say after an app was installed."""
    log()
    fact("of tomorrow", 1)
    ticker = Ticker(ALIAS)
    ticker.tick()
    assert Outbox.objects.exclude(failed_at=None).count() == 1
    Outbox.objects.update(failed_at=None)
    with folding("of tomorrow"):
        Ticker(ALIAS).tick()
    assert not Outbox.objects.exists()
    assert seqs() == [1]


def test_numbers_stay_gap_free_after_a_prune(log: Callable[..., list[Cursor]]) -> None:
    log(*[25 * HOUR] * 3)
    prune(ALIAS)
    publish_many(("public:news", "message", n) for n in range(3))
    Ticker(ALIAS).tick()
    assert seqs() == [3, 4, 5, 6]
    assert place_of_head(ALIAS).seq == 6
