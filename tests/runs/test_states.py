"""The state machine: whatever order facts come in, however often, the run ends where the task did."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbell.runs.states import ENDINGS, FINAL, Fact, Identity, Kind, Run, apply

IDENTITY = Identity(
    run="0b6f7a3e-0000-4000-8000-000000000001",
    task_id="t",
    engine="celery",
    name="photos.tasks.resize",
    label="Resizing photo",
    user_key="1",
    queued_at=100.0,
)
# Executions in the order in which they began.
FIRST, SECOND = "00001-a", "00002-b"


def fact(kind: Kind, attempt: int = 1, execution: str = "", at: float = 200.0, **values: Any) -> Fact:
    return Fact(identity=IDENTITY, kind=kind, at=at, attempt=attempt, execution=execution, **values)


def fold(facts: list[Fact]) -> Run:
    run: Run | None = None
    for one in facts:
        run = apply(run, one)
    assert run is not None
    return run


def what_its_owner_sees(run: Run) -> tuple[Any, ...]:
    """The run without its progress, which by design is whatever came last and is dropped after the end."""
    return (run.state, run.attempt, run.execution, run.finished_at, run.result, run.error_message, run.next_attempt_at)


# One history of a task: every fact that was ever told of it.
HISTORIES = {
    "success": [fact("queued"), fact("started", 1, FIRST), fact("succeeded", 1, FIRST, result={"n": 1})],
    "failure": [fact("queued"), fact("started", 1, FIRST), fact("failed", 1, FIRST, error_message="no")],
    "retry": [
        fact("queued"),
        fact("started", 1, FIRST),
        fact("retrying", 1, FIRST, next_attempt_at=300.0),
        fact("started", 2, SECOND),
        fact("succeeded", 2, SECOND),
    ],
    "revoked before start": [fact("queued"), fact("cancelled")],
    "expired": [fact("queued", expires_at=150.0), fact("expired")],
    "lost, then told again": [
        fact("queued"),
        fact("started", 1, FIRST),
        fact("lost", 1, FIRST),
        fact("started", 1, SECOND),
        fact("succeeded", 1, SECOND),
    ],
    "terminated by a signal that the task saw": [
        fact("started", 1, FIRST),
        fact("failed", 1, FIRST, error_message="soft limit"),
        fact("cancelled", 1, FIRST),
    ],
    "redelivered after the main process knew no execution": [
        fact("started", 1, FIRST),
        fact("failed", 1, "", error_message="worker lost"),
    ],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_every_order_ends_alike(history: list[Fact]) -> None:
    expected = what_its_owner_sees(fold(history))

    assert expected[0] in ENDINGS
    assert all(what_its_owner_sees(fold(list(order))) == expected for order in permutations(history))


kinds: st.SearchStrategy[Kind] = st.sampled_from(
    ["queued", "started", "retrying", "succeeded", "failed", "cancelled", "expired", "skipped", "lost"]
)
# "queued" is told before any execution.
facts = st.builds(fact, kinds, st.integers(1, 3), st.sampled_from(["", FIRST, SECOND])).map(
    lambda one: replace(one, execution="") if one.kind == "queued" else one
)


@given(st.lists(facts, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_shuffled_facts_reach_the_same_state(told: list[Fact], random: Any) -> None:
    shuffled = told.copy()
    random.shuffle(shuffled)

    run, other = fold(told), fold(shuffled)

    assert (run.state, run.attempt, run.execution) == (other.state, other.attempt, other.execution)


@given(st.lists(facts, min_size=1, max_size=6))
def test_a_doubled_fact_changes_nothing(told: list[Fact]) -> None:
    run = fold(told)

    assert all(apply(run, one) is run for one in told)


@given(st.lists(facts, min_size=2, max_size=6), st.data())
def test_a_missing_fact_never_hides_the_ending(told: list[Fact], data: Any) -> None:
    ending = fold(told)
    if ending.state not in FINAL:
        return
    last = next(
        one
        for one in told
        if one.kind == ending.state and (one.attempt, one.execution) == (ending.attempt, ending.execution)
    )
    kept = [one for one in told if one is last or data.draw(st.booleans())]

    assert fold(kept).state == ending.state


def test_what_is_only_believed_is_opened_again() -> None:
    for kind in FINAL:
        ended = fold([fact("started", 1, FIRST), fact(kind, 1, FIRST)])  # type: ignore[arg-type]
        assert apply(ended, fact("started", 1, SECOND)) is ended

    lost = fold([fact("started", 1, FIRST), fact("lost", 1, FIRST)])
    again = apply(lost, fact("started", 1, SECOND))

    assert (again.state, again.finished_at) == ("running", None)
    assert apply(lost, fact("succeeded", 1, FIRST)).state == "succeeded"
    assert apply(fold([fact("skipped")]), fact("started", 1, FIRST)).state == "running"


def test_only_what_was_never_seen_is_skipped() -> None:
    assert fold([fact("skipped")]).state == "skipped"
    for kind in ("queued", "started", "retrying", "lost"):
        seen = fold([fact(kind)])  # type: ignore[arg-type]
        assert apply(seen, fact("skipped")) is seen
        assert fold([fact("skipped"), fact(kind)]).state == seen.state  # type: ignore[arg-type]


def test_a_lost_execution_does_not_end_its_redelivery() -> None:
    again = fold([fact("started", 1, FIRST), fact("started", 1, SECOND)])

    assert apply(again, fact("lost", 1, FIRST)) is again


def test_progress_belongs_to_its_execution() -> None:
    running = fold([fact("started", 1, FIRST), fact("progress", 1, FIRST, 201, done=1, total=4, message="one")])

    assert apply(running, fact("progress", 1, FIRST, 200.5, done=0, total=4)) is running
    assert apply(running, fact("progress", 1, FIRST, 202, done=2, total=4)).done == 2
    assert apply(running, fact("started", 1, SECOND)).done is None
    assert apply(apply(running, fact("started", 1, SECOND)), fact("progress", 1, FIRST, 203, done=3)).done is None


def test_progress_may_overtake_its_start() -> None:
    early = fold([fact("queued"), fact("progress", 1, FIRST, 201, done=1, total=4)])

    assert (early.state, early.done) == ("running", 1)
    assert apply(early, fact("started", 1, FIRST)) is early


def test_progress_after_the_end_is_dropped_and_the_ending_brings_the_last() -> None:
    ended = fold([fact("started", 1, FIRST), fact("succeeded", 1, FIRST, done=4, total=4)])

    assert (ended.done, ended.total) == (4, 4)
    assert apply(ended, fact("progress", 1, FIRST, 999, done=3, total=4)) is ended


def test_late_is_a_flag_of_waiting_and_goes_with_it() -> None:
    late = fold([fact("queued"), fact("late")])

    assert (late.state, late.late) == ("queued", True)
    assert apply(late, fact("late")) is late
    assert not apply(late, fact("started", 1, FIRST)).late
    running = fold([fact("started", 1, FIRST)])
    assert apply(running, fact("late", 1, FIRST)) is running


def test_a_cancel_that_came_too_late_leaves_the_success() -> None:
    run = fold([fact("started", 1, FIRST), fact("cancelling"), fact("succeeded", 1, FIRST)])

    assert run.state == "succeeded"
    assert run.cancel_requested_at is not None


def test_the_first_fact_creates_the_run_whichever_it_is() -> None:
    for kind in ("queued", "started", "progress", "failed", "lost"):
        run = apply(None, fact(kind, 1, FIRST))  # type: ignore[arg-type]
        assert run.identity == IDENTITY
    assert apply(None, replace(fact("queued"), expires_at=150.0)).expires_at == 150.0
