"""From accounts to addresses, on every database: also of those that come late or never."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from taskbell import publish, publish_many
from taskbell.models import Outbox, Recipient
from taskbell.store.tick import ACCOUNT_SECONDS, KEEP_SECONDS, Moved, Ticker
from tests.contract.ticking import Clock, User, channel_of, committing, moved, payloads, payloads_waiting
from tests.store.folding import fact, folding

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


class TestPeople:
    def test_a_person_is_given_an_address_of_their_own(self, ticker: Ticker, ada: Any) -> None:
        bob = User.objects.create(username="bob")
        publish_many([(ada, "message", 1), ("public:news", "message", 2), (bob, "message", 3), (ada, "message", 4)])
        rows = moved(ticker)
        assert payloads(rows) == [1, 2, 3, 4]
        assert [row.channel for row in rows] == [channel_of(ada), "public:news", channel_of(bob), channel_of(ada)]
        assert channel_of(ada) != channel_of(bob)
        assert str(ada.pk) not in channel_of(ada).split("-")

    def test_and_keeps_it(self, ticker: Ticker, ada: Any) -> None:
        publish(ada, "message", 1)
        publish(ada, "message", 2)
        first = moved(ticker)
        publish(ada, "message", 3)
        second = moved(ticker)
        assert {row.channel for row in [*first, *second]} == {channel_of(ada)}
        assert Recipient.objects.count() == 1

    def test_an_account_may_come_after_its_event(self, ticker: Ticker, clock: Clock) -> None:
        late = User(pk=4_000, username="late")
        publish(late, "message", 1)
        publish("public:news", "message", 2)
        assert payloads(moved(ticker)) == [2]
        late.save()
        assert ticker.tick() == Moved(), "looked again without pause"
        clock.now += KEEP_SECONDS
        assert payloads(moved(ticker)) == [1]
        assert ticker.dropped == 0

    @committing
    def test_it_is_looked_for_again_and_again(self, ticker: Ticker, clock: Clock) -> None:
        late = User(pk=4_000, username="late")
        publish(late, "message", 1)
        for _ in range(5):
            assert moved(ticker) == []
            clock.now += KEEP_SECONDS
        late.save()
        assert payloads(moved(ticker)) == [1]

    @committing
    def test_what_waits_for_an_account_comes_before_what_follows(self, ticker: Ticker) -> None:
        late = User(pk=4_000, username="late")
        publish(late, "message", 1)
        assert moved(ticker) == []
        late.save()
        publish(late, "message", 2)
        assert payloads(moved(ticker)) == [1, 2]

    def test_after_a_minute_it_is_dropped_and_counted(self, ticker: Ticker, clock: Clock) -> None:
        publish(User(pk=4_000, username="nobody"), "message", 1)
        assert moved(ticker) == []
        clock.now += ACCOUNT_SECONDS - 1
        assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped) == ([1], 0)
        clock.now += KEEP_SECONDS
        assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped) == ([], 1)

    @pytest.mark.parametrize("offset", [timedelta(days=-1), timedelta(hours=-1), timedelta(hours=1)])
    def test_the_minute_is_the_tickers_whatever_the_writers_clock_says(
        self, ticker: Ticker, clock: Clock, offset: timedelta
    ) -> None:
        nobody = User(pk=4_000, username="nobody")
        publish(nobody, "message", 1)
        Outbox.objects.update(created_at=timezone.now() + offset)
        for _ in range(2):
            assert moved(ticker) == []
            assert (payloads_waiting(), ticker.dropped) == ([1], 0)
            clock.now += ACCOUNT_SECONDS / 2
        assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped) == ([], 1)

    def test_what_comes_later_waits_its_own_minute(self, ticker: Ticker, clock: Clock) -> None:
        for number in range(3):
            publish(User(pk=4_000 + number, username="nobody"), "message", number)
            moved(ticker)
            clock.now += ACCOUNT_SECONDS / 2
        moved(ticker)
        assert (payloads_waiting(), ticker.dropped) == ([2], 2)

    def test_facts_wait_like_events_and_no_fold_sees_them_before(self, ticker: Ticker, clock: Clock) -> None:
        late = User(pk=4_000, username="late")
        with folding("proof") as fold:
            waiting = fact("proof", 1, channel=None, user_key=str(late.pk))
            other = fact("proof", 2)
            publish(late, "message", 3)
            assert payloads(moved(ticker)) == [2]
            clock.now += ACCOUNT_SECONDS / 2
            assert moved(ticker) == []
            assert fold.batches == [[other.id]]
            late.save()
            clock.now += KEEP_SECONDS
            assert payloads(moved(ticker)) == [1, 3]
            assert fold.batches == [[other.id], [waiting.id]]
        assert (payloads_waiting(), ticker.dropped) == ([], 0)

    def test_a_fact_of_nobody_is_dropped_after_a_minute_unseen(self, ticker: Ticker, clock: Clock) -> None:
        with folding("proof") as fold:
            fact("proof", 1, channel=None, user_key="4000")
            assert moved(ticker) == []
            clock.now += ACCOUNT_SECONDS
            assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped, fold.batches) == ([], 1, [])

    @pytest.mark.parametrize("key", ["", "abc", "1e3", "-1", "0", str(2**63), str(10**30), "1.5", "None", "7" * 128])
    def test_a_key_that_no_account_has_stops_nobody(self, ticker: Ticker, clock: Clock, key: str, ada: Any) -> None:
        Outbox.objects.create(kind="event", user_key=key, type="message", payload="1")
        publish(ada, "message", 2)
        assert payloads(moved(ticker)) == [2]
        clock.now += ACCOUNT_SECONDS
        publish(ada, "message", 3)
        assert payloads(moved(ticker)) == [3]
        assert ticker.dropped == 1
