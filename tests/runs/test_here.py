"""Inside a task: progress, track and publish_result find their run, never raise, and tell at most so often."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings
from django.utils.functional import lazy

from taskbell import progress, publish_result, track
from taskbell.models import Log
from taskbell.runs.here import Here, current_run, enter, leave, new_execution
from taskbell.runs.labels import label_for
from taskbell.testing import deliver
from tests.runs.telling import identity, waiting

pytestmark = pytest.mark.django_db


@contextmanager
def working(rate: int = 1_000_000) -> Iterator[Here]:
    """Be in a task, told in this very transaction as an eager one is."""
    ada, _ = get_user_model().objects.get_or_create(username="ada")
    here = Here(identity(ada), attempt=1, execution=new_execution(), eager=True)
    enter(here)
    try:
        with override_settings(TASKBELL={"PROGRESS_RATE": rate}):
            yield here
    finally:
        leave()


def moved() -> list[tuple[Any, Any, Any]]:
    return [(fact.get("done"), fact.get("total"), fact.get("message")) for fact in waiting()]


def test_outside_a_run_nothing_happens() -> None:
    items = [1, 2]
    assert track(items) is items
    progress(1, 2, "x")
    publish_result({1, 2})
    assert (current_run(), waiting()) == (None, [])


def test_progress_is_told() -> None:
    with working():
        progress(1, 4, "one")
        progress(2)
        progress(3, 4)
    # The message stays until another is given; the total is said each time.
    assert moved() == [(1, 4, "one"), (2, None, "one"), (3, 4, "one")]


def test_track_counts_what_is_done() -> None:
    with working():
        assert list(track("abc", "letters")) == list("abc")
    assert moved() == [(0, 3, "letters"), (1, 3, "letters"), (2, 3, "letters"), (3, 3, "letters")]


@pytest.mark.parametrize(("total", "expected"), [(None, [None, None, None]), (2, [2, 2, 2])])
def test_track_of_unknown_length(total: int | None, expected: list[int | None]) -> None:
    with working() as here:
        assert list(track(iter("ab"), total=total)) == ["a", "b"]
        assert (here.done, here.total) == (2, total or 2)
    assert [told[1] for told in moved()] == expected


def test_track_that_is_left_keeps_what_was_done() -> None:
    with working() as here:
        for number in track(range(10)):
            if number == 4:
                break
        assert here.done == 4


def test_the_bar_moves_at_most_so_often_and_the_ending_brings_the_rest() -> None:
    with working(rate=4) as here:
        began = time.monotonic()
        for _ in track(range(10_000)):
            pass
        most = 1 + (time.monotonic() - began) * 4
        assert len(waiting()) <= most + 1
        here.tell(here.ending("succeeded", result=here.result))
    assert moved()[-1][:2] == (10_000, 10_000)


def test_a_rate_of_zero_tells_the_ending_alone() -> None:
    with working(rate=0):
        progress(1)
        progress(2)
    assert len(moved()) <= 1


def fails() -> str:
    raise ValueError("no such translation")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ((float("nan"), float("inf")), (None, None, None)),
        (("3", "x"), (3, None, None)),
        ((None, object()), (None, None, None)),
        ((10**400, 1), (None, 1, None)),
        ((1, 2, "x" * 500), (1, 2, "x" * 200)),
        ((1, 2, 7), (1, 2, "7")),
        ((1, 2, lazy(fails, str)()), (1, 2, None)),
        ((1, 2, "\0\ud800"), (1, 2, "\0\ud800")),
    ],
    ids=range(8),
)
def test_progress_never_raises(call: tuple[Any, ...], told: tuple[Any, ...]) -> None:
    with working():
        progress(*call)
        assert moved() == [told]
    deliver()
    assert Log.objects.exists()


def test_a_result_is_kept_as_it_was() -> None:
    with working() as here:
        result = {"at": datetime(2026, 1, 1, tzinfo=UTC), "n": [1]}
        publish_result(result)
        result["n"] = {1, 2}
        assert here.result == {"at": "2026-01-01T00:00:00Z", "n": [1]}


@pytest.mark.parametrize(
    "bad", [{1, 2}, float("nan"), 2**60, "x" * 60_000, object()], ids=["set", "NaN", "wide", "long", "object"]
)
def test_a_bad_result_is_logged_and_the_one_before_stays(bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    with working() as here:
        publish_result(1)
        publish_result(bad)
        assert here.result == 1
    assert "was ignored" in caplog.text


def test_the_largest_result_fits_with_everything_else() -> None:
    with working() as here:
        here.identity = identity(get_user_model().objects.get(), name="n" * 255, label="é" * 255)
        progress(1, 2, "\U0001f600" * 200)
        publish_result("x" * (48 * 1024 - 2))
        here.tell(here.ending("succeeded", result=here.result))
    deliver()
    ending = json.loads(Log.objects.order_by("-seq")[0].payload)
    assert (ending["state"], len(ending["result"])) == ("succeeded", 48 * 1024 - 2)


def test_an_inner_task_gives_back_the_outer_one() -> None:
    with working() as outer:
        enter(None, nested=True)
        assert current_run() is None
        leave()
        assert current_run() is outer
        # A child whose task was killed in the middle takes the next one.
        enter(None)
        leave()
        assert current_run() is None
        enter(outer)


def test_executions_follow_each_other() -> None:
    marks = []
    for _ in range(50):
        marks.append(new_execution())
        time.sleep(0.0001)
    assert marks == sorted(marks)
    assert max(map(len, marks)) <= 40


@pytest.mark.parametrize(
    ("tasks", "label"),
    [
        ({}, None),
        ({"photos.*": "Photo"}, "Photo"),
        ({"*": "Any", "photos.tasks.make_sizes": "Sizes"}, "Sizes"),
        ({"photos.*": "First", "photos.tasks.*": "Second"}, "First"),
        ({"photos.tasks.make_sizes": ""}, "Make sizes"),
        ({"*": ""}, "Make sizes"),
        ({"Photos.*": "Other case"}, None),
        ({"tasks.*": "Elsewhere"}, None),
    ],
)
def test_labels(tasks: dict[str, str], label: str | None) -> None:
    with override_settings(TASKBELL={"TASKS": tasks}):
        assert label_for("photos.tasks.make_sizes") == label
