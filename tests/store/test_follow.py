"""A place in the log that outlives processes, and is moved by one of them."""

from typing import Any

import pytest

from taskbell import publish
from taskbell.models import Log, LogHead, Place
from taskbell.store.follow import PAGE_ROWS, Follower, Stretch
from taskbell.store.head import create_head, new_epoch
from taskbell.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

ALIAS = "default"
LEASE = 30


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(clock: Clock) -> Follower:
    """A follower that has begun."""
    create_head(ALIAS)
    follower = another(clock)
    assert follower.read(ALIAS) == Stretch()
    return follower


def another(clock: Clock) -> Follower:
    return Follower("test", frozenset({"wanted", "too"}), clock)


def say(*types: str) -> None:
    for n, type in enumerate(types):
        publish("public:news", type, n)
    deliver()


def told(follower: Follower) -> list[str]:
    """Read and keep; return the types of what was read."""
    stretch = follower.read(ALIAS)
    if stretch.end is not None:
        assert follower.keep(stretch.end, ALIAS)
    return [row.type for row in stretch.rows]


def test_what_was_before_it_began_is_not_told(clock: Clock) -> None:
    say("wanted")
    follower = another(clock)
    assert told(follower) == []
    say("wanted")
    assert told(follower) == ["wanted"]


def test_reads_on_from_where_it_kept_its_place(follower: Follower, clock: Clock) -> None:
    say("wanted", "other", "too", "other")
    assert told(follower) == ["wanted", "too"]
    assert told(follower) == []
    say("too")
    assert [row.type for row in follower.read(ALIAS).rows] == ["too"]
    # It was not kept, so it comes again.
    assert told(follower) == ["too"]


def test_the_place_moves_past_what_nobody_wants(follower: Follower) -> None:
    say(*["other"] * 5)
    assert told(follower) == []
    assert Place.objects.get().seq == LogHead.objects.get().seq


def test_progress_is_left_out(follower: Follower) -> None:
    say("wanted", "wanted")
    Log.objects.filter(seq=1).update(latest_key="run")
    assert told(follower) == ["wanted"]


def test_more_than_a_page_comes_in_pages(follower: Follower) -> None:
    say(*["wanted"] * (PAGE_ROWS + 1))
    stretch = follower.read(ALIAS)
    assert (len(stretch.rows), stretch.more) == (PAGE_ROWS, True)
    assert stretch.end is not None
    assert follower.keep(stretch.end, ALIAS)
    stretch = follower.read(ALIAS)
    assert (len(stretch.rows), stretch.more) == (1, False)


def test_another_process_waits_for_a_lease_and_then_takes_over(follower: Follower, clock: Clock) -> None:
    second = another(clock)
    say("wanted")
    unfinished = follower.read(ALIAS)
    assert told(second) == []
    clock.now += LEASE - 1
    assert told(second) == []
    clock.now += 1
    assert told(second) == ["wanted"]
    # Whoever comes back late has nothing more to say.
    assert unfinished.end is not None
    assert not follower.keep(unfinished.end, ALIAS)
    say("too")
    assert told(follower) == []
    assert told(second) == ["too"]


def test_as_long_as_the_place_moves_nobody_takes_over(follower: Follower, clock: Clock) -> None:
    second = another(clock)
    for _ in range(5):
        say("wanted")
        assert told(second) == []
        clock.now += LEASE - 1
        assert told(follower) == ["wanted"]


def test_a_quiet_log_is_no_reason_to_take_over(follower: Follower, clock: Clock) -> None:
    second = another(clock)
    for _ in range(5):
        assert told(second) == []
        clock.now += LEASE
    say("wanted")
    assert told(second) == []
    assert told(follower) == ["wanted"]


def test_of_two_that_take_over_at_once_one_does(follower: Follower, clock: Clock) -> None:
    others = [another(clock) for _ in range(3)]
    say("wanted")
    assert [told(one) for one in others] == [[]] * 3
    clock.now += LEASE
    rows = Place.objects.get()
    assert sorted(one._take(rows, ALIAS) for one in others) == [False, False, True]


@pytest.mark.parametrize("change", ["epoch", "pruned", "flushed", "restored"])
def test_a_log_that_is_another_one_is_followed_from_its_end(
    follower: Follower, clock: Clock, change: str, caplog: Any
) -> None:
    say("wanted", "wanted", "wanted")
    told(follower)
    say("wanted", "wanted", "wanted")
    if change == "epoch":
        new_epoch(ALIAS)
    elif change == "pruned":
        LogHead.objects.update(floor=5)
    elif change == "flushed":
        Log.objects.all().delete()
        LogHead.objects.all().delete()
        create_head(ALIAS)
    else:
        Log.objects.filter(seq__gt=2).delete()
        LogHead.objects.update(seq=2)
    assert told(follower) == []
    assert "go on with what comes from now on" in caplog.text
    say("too")
    assert told(follower) == ["too"]


def test_without_a_head_it_waits(clock: Clock) -> None:
    follower = another(clock)
    assert told(follower) == []
    assert not Place.objects.exists()
    create_head(ALIAS)
    assert told(follower) == []
    LogHead.objects.all().delete()
    assert told(follower) == []
