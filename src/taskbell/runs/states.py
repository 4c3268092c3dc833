"""The state machine of a run. Pure: facts in any order, doubled or missing, give the same state.

Every state has a standing, and a fact counts only if it stands higher. So nothing depends on which message came
first: a new execution outranks the old one, a new attempt outranks both, and an ending outranks all that is not one.
`lost` is not quite an ending: it is what we believe until a sign of life says otherwise. Nor is `skipped`, which is
what we believe of a task that was never published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from taskbell.runs.tree import Steps

State = Literal["queued", "running", "retrying", "succeeded", "failed", "cancelled", "expired", "skipped", "lost"]
Kind = Literal[
    "queued", "started", "progress", "retrying", "late", "cancelling",
    "succeeded", "failed", "cancelled", "expired", "skipped", "lost", "steps",
]  # fmt: skip

ENDINGS: Final[frozenset[State]] = frozenset({"succeeded", "failed", "cancelled", "expired", "skipped", "lost"})
WAITING: Final = frozenset({"queued", "retrying"})
FINAL: Final[frozenset[State]] = ENDINGS - {"lost", "skipped"}
# `task_retry` still carries the old attempt, so within an attempt retrying comes after running.
_RANK: Final = {"queued": 0, "running": 1, "retrying": 2, "lost": 3}
# Two endings of one execution: a terminated task reports its own death and the cancel, in either order.
PRECEDENCE: Final = {"expired": 1, "failed": 2, "succeeded": 3, "cancelled": 4}
_STATE_OF: Final[dict[str, State]] = {"queued": "queued", "started": "running", "retrying": "retrying"}


# Steps of a tree that are runs of their own; of those after them only the state is known.
STEPS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What a step tells of the run that it is a step of, so that any step's fact can be the first."""

    label: str
    parent: str | None = None
    root: str | None = None
    queued_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who and what a run is; every fact carries it whole, so that any fact can be the first.

    `run` is our own uuid; `task_id` the engine's, which callers may use again. `queued_at` is in seconds of the epoch.
    Without a `label` it is that of a *carrier*: a task that nobody is shown, on the way from an owner's task to others.

    A step has its place `step`, from 0, in its `parent`. `skips` are ranges of places there (first and last) that are
    never published unless this task succeeds; `after` are the places by task ids, and travels in the header alone.
    `replaces` is the run that goes on only when this task succeeds.

    `asked_at` is when the person asked for the first of the tasks that led to this one, None where that was this one.
    """

    run: str
    task_id: str
    engine: str
    alias: str = "default"
    name: str
    label: str
    user_key: str
    parent: str | None = None
    root: str | None = None
    group: str | None = None
    queued_at: float
    tree: Tree | None = None
    step: int | None = None
    skips: tuple[tuple[int, int], ...] = ()
    after: Mapping[str, int] | None = field(default=None, compare=False)
    replaces: "Identity | None" = None
    asked_at: float | None = None

    @property
    def origin(self) -> float:
        """When a person asked for this, in seconds of the epoch: whoever has the key since then."""
        return self.asked_at if self.asked_at is not None else self.queued_at

    @property
    def is_shown(self) -> bool:
        """Whether there is a run to be seen; a carrier only hands on its owner."""
        return self.label != ""

    @property
    def is_told(self) -> bool:
        """Whether anything hangs on how this task ends."""
        return self.is_shown or bool(self.skips) or self.replaces is not None

    @property
    def is_quiet(self) -> bool:
        """Whether this has no events, and a row only while it is under way: a late step of many, or a carrier."""
        return not self.is_shown or (self.step or 0) >= STEPS_SHOWN

    @property
    def in_tree(self) -> str | None:
        """The run that this is a step of, or works for on the way to other steps."""
        return self.parent if self.step is not None or self.skips else None

    @property
    def nearest(self) -> str | None:
        """The run that is the parent of what this task enqueues."""
        return self.run if self.is_shown else self.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What an engine saw. `attempt` counts from 1; `execution` orders executions of one attempt, "" before any.

    Times are seconds of the epoch. `result` is what the task chose to publish, `error` only what its owner may read.
    """

    identity: Identity
    kind: Kind
    at: float
    attempt: int = 1
    execution: str = ""
    done: float | None = None
    total: float | None = None
    message: str | None = None
    result: Any = None
    error_message: str | None = None
    error_reference: str | None = None
    next_attempt_at: float | None = None
    expires_at: float | None = None
    worker: str | None = None
    acks_late: bool = False
    # Of "steps", which tells a whole tree with `total`: (task id, name, label) of those first in it, and ranges of
    # places that nobody will ever publish.
    plan: tuple[tuple[str, str, str], ...] = ()
    holes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One background task as its owner sees it, or a tree of them, whose state is that of its `steps`.

    `since` is by the clock of whoever folds, all other times by the clocks of those who saw what happened.
    """

    identity: Identity
    state: State = "queued"
    late: bool = False
    attempt: int = 1
    execution: str = ""
    done: float | None = None
    total: float | None = None
    message: str | None = None
    progress_at: float | None = None
    result: Any = None
    error_message: str | None = None
    error_reference: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    next_attempt_at: float | None = None
    expires_at: float | None = None
    cancel_requested_at: float | None = None
    worker: str | None = None
    acks_late: bool = False
    since: float | None = None
    steps: "Steps | None" = None

    @property
    def ended(self) -> bool:
        """Whether this is an ending; `lost` is one to its owner."""
        return self.state in ENDINGS

    def fact(self, kind: Kind, at: float, **values: Any) -> Fact:
        """Return a fact of the execution at hand, with its progress; `at` is in seconds of the epoch."""
        return Fact(
            identity=self.identity,
            kind=kind,
            at=at,
            attempt=self.attempt,
            execution=self.execution,
            done=self.done,
            total=self.total,
            message=self.message,
            **values,
        )


def apply(run: Run | None, fact: Fact) -> Run:
    """Return the run after a fact; the very same object when the fact changes nothing."""
    if run is None:
        return _first(fact)
    match fact.kind:
        case "progress":
            return _progress(run, fact)
        case "late":
            return _late(run, fact)
        case "cancelling":
            return run if run.cancel_requested_at or run.ended else replace(run, cancel_requested_at=fact.at)
        case _:
            return _move(run, fact)


def dated(before: Run | None, run: Run, fact: Fact, now: float) -> Run:
    """Return the run with the time since when it is in its state, given what it was before the fact.

    Of one that waits for a time, this is the time; how far off that was when it was named, two clocks agree upon.
    """
    if before is not None and _turn(before) == _turn(run):
        return run
    wait = run.next_attempt_at - fact.at if run.state in WAITING and run.next_attempt_at is not None else 0.0
    return replace(run, since=now + max(0.0, wait))


def _turn(run: Run) -> tuple[State, int, str]:
    return run.state, run.attempt, run.execution


def _first(fact: Fact) -> Run:
    run = Run(identity=fact.identity, expires_at=fact.expires_at)
    match fact.kind:
        case "queued":
            return replace(run, attempt=fact.attempt, next_attempt_at=fact.next_attempt_at)
        case "skipped":
            return replace(run, state="skipped", finished_at=fact.at)
        case _:
            return apply(run, fact)


def _move(run: Run, fact: Fact) -> Run:
    state: State = _STATE_OF.get(fact.kind, fact.kind)  # type: ignore[arg-type]
    if _standing(state, fact.attempt, fact.execution) <= _standing(run.state, run.attempt, run.execution):
        return run
    if state in ENDINGS:
        return _end(run, state, fact)
    again = (fact.attempt, fact.execution) != (run.attempt, run.execution)
    return replace(
        run,
        state=state,
        late=False,
        attempt=fact.attempt,
        execution=fact.execution,
        # A new execution begins its work anew, and what an old one was told is not true of it.
        done=None if again else run.done,
        total=None if again else run.total,
        message=None if again else run.message,
        error_message=fact.error_message,
        error_reference=fact.error_reference,
        started_at=fact.at if state == "running" else run.started_at,
        finished_at=None,
        next_attempt_at=fact.next_attempt_at,
        worker=fact.worker or run.worker,
        acks_late=fact.acks_late or run.acks_late,
    )


def _end(run: Run, state: State, fact: Fact) -> Run:
    told = fact.done is not None
    return replace(
        run,
        state=state,
        late=False,
        attempt=fact.attempt,
        execution=fact.execution,
        done=fact.done if told else run.done,
        total=fact.total if told else run.total,
        message=fact.message if told else run.message,
        result=fact.result,
        error_message=fact.error_message,
        error_reference=fact.error_reference,
        finished_at=fact.at,
        next_attempt_at=None,
    )


def _progress(run: Run, fact: Fact) -> Run:
    """Take newer progress of the execution at hand; progress may overtake its own start."""
    if run.ended:
        return run
    standing = (fact.attempt, fact.execution)
    if standing > (run.attempt, run.execution):
        run = replace(_move(run, replace(fact, kind="started")), progress_at=None)
    elif standing < (run.attempt, run.execution) or fact.at <= (run.progress_at or 0):
        return run
    return replace(run, done=fact.done, total=fact.total, message=fact.message, progress_at=fact.at)


def _late(run: Run, fact: Fact) -> Run:
    waits = run.state in WAITING and (fact.attempt, fact.execution) == (run.attempt, run.execution)
    return replace(run, late=True) if waits and not run.late else run


def _standing(state: State, attempt: int, execution: str) -> tuple[int, int, str, int]:
    if state in PRECEDENCE:
        return (1, attempt, execution, PRECEDENCE[state])
    if state == "skipped":  # whatever was seen of a task stands above the belief that nobody publishes it
        return (-1, 0, "", 0)
    return (0, attempt, execution, _RANK[state])
