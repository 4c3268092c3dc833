import pytest

from taskbell.wakeups.pauses import Backoff, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_pauses_double_up_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(1)
    assert [backoff.pause() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.pause() == 1


def test_a_breaker_bears_two_failures_and_opens_at_the_third(clock: Clock) -> None:
    breaker = Breaker(clock)
    assert [breaker.failed() for _ in range(2)] == [False, False]
    assert not breaker.is_open
    assert breaker.failed()
    assert breaker.is_open


def test_a_breaker_lets_one_try_through_after_longer_and_longer_pauses(clock: Clock) -> None:
    breaker = Breaker(clock)
    breaker.failed()
    breaker.failed()
    for pause in (1, 2, 4, 8, 16, 30, 30):
        assert breaker.failed()
        clock.now += pause - 0.1
        assert breaker.is_open
        clock.now += 0.1
        assert not breaker.is_open


def test_a_success_makes_a_breaker_patient_again(clock: Clock) -> None:
    breaker = Breaker(clock)
    for _ in range(5):
        breaker.failed()
    breaker.succeeded()
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    clock.now += 1
    assert not breaker.is_open
