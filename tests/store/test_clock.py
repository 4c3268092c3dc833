"""The patient clock against every way in which a wall clock is set: what it calls old is old."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from taskbell.store.clock import STEP_SECONDS, PatientClock

BEGAN = 1_500_000_000.0
steps = st.sampled_from([0.0] * 6 + [-86_400.0, -3_600.0, -2.0, 2.0, 3_600.0, 86_400.0, 3.2e8])
lives = st.lists(st.tuples(st.floats(0.1, 100), steps), min_size=1, max_size=30)


class Clocks:
    """Both clocks, and whatever was dated meanwhile: `(monotonic, date)`."""

    def __init__(self) -> None:
        self.now = self.set_by = 0.0
        self.dated: list[tuple[float, float]] = []
        self.patient = PatientClock(lambda alias: self.wall, lambda: self.now)

    @property
    def wall(self) -> float:
        return BEGAN + self.now + self.set_by

    def live(self, seconds: float, step: float) -> None:
        """Let time pass, and then set the clock, with something dated just before and after."""
        self.now += seconds
        self.dated.append((self.now, self.wall))
        self.set_by += step
        self.dated.append((self.now, self.wall))
        self.patient.look("default")

    def ago(self, seconds: float) -> float:
        self.patient.look("default")
        return self.patient.ago(seconds).timestamp()


@given(lives, st.floats(1, 300))
def test_nothing_is_called_older_than_it_is(life: list[tuple[float, float]], age: float) -> None:
    clocks = Clocks()
    clocks.live(0, 0)
    for seconds, step in life:
        clocks.live(seconds, step)
        before = clocks.ago(age)
        # What a step below the tolerance hides, and what the microseconds of a date cut off.
        old = [at for at, date in clocks.dated if date < before - STEP_SECONDS]
        assert all(clocks.now - at >= age - STEP_SECONDS for at in old)


@given(lives, st.floats(1, 300))
def test_what_is_old_is_called_so_once_the_clock_is_left_alone(life: list[tuple[float, float]], age: float) -> None:
    clocks = Clocks()
    clocks.live(0, 0)
    for seconds, step in life:
        clocks.live(seconds, step)
    clocks.dated.clear()
    clocks.live(1, 0)
    clocks.live(age, 0)
    clocks.live(1, 0)
    [(_, first), *_] = clocks.dated
    assert first < clocks.ago(age)


def test_before_the_first_look_the_clock_is_taken_to_have_gone_evenly() -> None:
    clocks = Clocks()
    assert clocks.ago(86_400) == BEGAN - 86_400
    assert clocks.patient.ago(0) == datetime.fromtimestamp(BEGAN, UTC)


def test_a_slow_correction_is_followed() -> None:
    clocks = Clocks()
    for _ in range(1_000):
        clocks.live(1, 0.08)
    assert clocks.ago(0) == clocks.wall
