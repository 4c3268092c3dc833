"""A run with steps. Pure: its state is computed from one letter a step, so steps may be told in any order.

What is kept of a step only ever grows by joining: a letter that stands higher, the earliest start, the latest end.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID, uuid5

from taskbell.runs.states import ENDINGS, FINAL, PRECEDENCE, STEPS_SHOWN, Fact, Identity, Kind, Run, State, apply

LETTERS: Final[dict[State, str]] = {
    "queued": "q", "running": "r", "retrying": "t", "succeeded": "s", "failed": "f", "cancelled": "c",
    "expired": "e", "skipped": "k", "lost": "l",
}  # fmt: skip
STATES: Final = {letter: state for state, letter in LETTERS.items()}
# A step that is known to be, and no more.
UNSEEN: Final = "."
_WAITING: Final = UNSEEN + LETTERS["queued"] + LETTERS["skipped"]
# How a tree ends that has ended: by its worst step. What was skipped was so for the sake of another.
_WORST: Final[tuple[State, ...]] = ("failed", "lost", "cancelled", "expired", "succeeded", "skipped")
# What keeps a task's followers from being published.
BREAKS: Final = frozenset({"failed", "cancelled", "expired", "lost"})

Planned = tuple[str, str, str]
Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What is known of a tree's steps.

    `letters` are their states in order, `total` how many there are once that was told, `plan` (task id, name, label)
    of the first ones. `failure` is the first step that failed, and what its owner may read of that. `broken` are the
    ways in which carriers between the steps ended, which matters while a step is skipped. `lost_at` is when the reaper
    gave the tree up, until anything moves.
    """

    letters: str = ""
    total: int | None = None
    plan: tuple[Planned | None, ...] = ()
    failure: tuple[int, str, str] | None = None
    broken: tuple[State, ...] = ()
    started_at: float | None = None
    ended_at: float | None = None
    lost_at: float | None = None

    @property
    def known(self) -> int:
        """How many steps there are, as far as is known."""
        return max(len(self.letters), self.total or 0)

    def count(self, state: State) -> int:
        """Return how many steps are in a state; what was not seen yet is queued."""
        if state != "queued":
            return self.letters.count(LETTERS[state])
        return self.known - sum(self.letters.count(letter) for letter in STATES if letter != "q")

    @property
    def ended(self) -> int:
        """How many steps have ended."""
        return sum(map(self.count, ENDINGS))

    @property
    def is_under_way(self) -> bool:
        """Whether any step is being worked on, or will be tried again: then others watch over it."""
        return self.count("running") + self.count("retrying") > 0

    def letter(self, step: int) -> str:
        """Return the letter of a step."""
        return self.letters[step] if step < len(self.letters) else UNSEEN

    def state_of(self, step: int) -> State:
        """Return the state of a step."""
        return STATES.get(self.letter(step), "queued")

    def moved(self, step: int, state: State) -> "Steps":
        """Return these with one step in a state."""
        letters = self.letters.ljust(step + 1, UNSEEN)
        return replace(self, letters=letters[:step] + LETTERS[state] + letters[step + 1 :])

    def skipped(self, ranges: Iterable[Range]) -> "Steps":
        """Return these with all skipped that nobody has seen, in ranges of places (first and last)."""
        letters = self.letters
        for first, last in ranges:
            letters = letters.ljust(last + 1, UNSEEN)
            unseen = letters[first : last + 1].replace(UNSEEN, LETTERS["skipped"])
            letters = letters[:first] + unseen + letters[last + 1 :]
        return replace(self, letters=letters)

    def planned(self, step: int, planned: Planned) -> "Steps":
        """Return these with what is known of a step beforehand; of those that are shown."""
        if step >= STEPS_SHOWN:
            return self
        plan = [*self.plan, *[None] * (step + 1 - len(self.plan))]
        plan[step] = planned
        return replace(self, plan=tuple(plan))

    def listed(self, tree: str) -> list[dict[str, Any]]:
        """Return the first steps as browsers see them."""
        return [
            {"id": step_id(tree, step), "label": planned[2] if planned else "", "state": self.state_of(step)}
            for step, planned in enumerate(self.plan)
        ]

    @property
    def state(self) -> State:
        """The state of the whole: it has ended when it is known how many there are, and all of them have."""
        if self.lost_at is not None:
            return "lost"
        if self.total is not None and self.ended >= self.known:
            return next((state for state in _WORST if self._has(state)), "succeeded")
        return "running" if self.letters.strip(_WAITING) else "queued"

    def _has(self, state: State) -> bool:
        return self.count(state) > 0 or (state in self.broken and self.count("skipped") > 0)


def step_id(tree: str, step: int) -> str:
    """Return the id of the run that is a step: always the same, so that a step never published has one too."""
    return str(uuid5(UUID(tree), str(step)))


def tree_identity(of: Identity) -> Identity:
    """Return the identity of the tree that a step is part of."""
    tree, run = of.tree, of.in_tree or of.run
    return Identity(
        run=run,
        task_id=run,
        engine=of.engine,
        alias=of.alias,
        name="",
        label=tree.label if tree else "",
        user_key=of.user_key,
        parent=tree.parent if tree else None,
        root=tree.root if tree else None,
        queued_at=tree.queued_at if tree else of.queued_at,
        asked_at=of.asked_at,
    )


def step_identity(tree: Identity, step: int, planned: Planned) -> Identity:
    """Return the identity of a step that was never published."""
    task_id, name, label = planned
    return Identity(
        run=step_id(tree.run, step),
        task_id=task_id,
        engine=tree.engine,
        alias=tree.alias,
        name=name,
        label=label,
        user_key=tree.user_key,
        parent=tree.run,
        root=tree.root or tree.run,
        queued_at=tree.queued_at,
        step=step,
        asked_at=tree.asked_at,
    )


def join(letter: str, kind: Kind) -> State:
    """Return what becomes of a step that has ended for good by another fact: only another such ending counts."""
    there = STATES[letter]
    return max(there, STATES[LETTERS[kind]], key=PRECEDENCE.__getitem__) if kind in FINAL else there


def apply_to_tree(run: Run, fact: Fact) -> Run:
    """Return a tree after a fact that is its own, and not a step's."""
    steps = run.steps or Steps()
    match fact.kind:
        case "steps":
            for step, planned in enumerate(fact.plan):
                steps = steps.planned(step, planned)
            total = max(int(fact.total or 0), steps.total or 0)
            named = replace(run.identity, task_id=fact.identity.task_id, label=fact.identity.label)
            return sum_up(run, replace(steps.skipped(fact.holes), total=total), named)
        case "lost":
            # It says what was seen; anything since then says otherwise.
            is_news = not run.ended and fact.execution == run.execution
            return sum_up(run, replace(steps, lost_at=fact.at)) if is_news else run
        case "late" | "cancelling":
            return apply(run, fact)
        case _:
            return run


def apply_to_step(run: Run, fact: Fact, state: State | None) -> Run:
    """Return a tree after a fact of one of its steps, which is in `state` now; None where nothing is known of it."""
    before = run.steps or Steps()
    steps = before
    if state is not None and fact.identity.step is not None:
        steps = steps.moved(fact.identity.step, state)
        steps = steps.planned(fact.identity.step, (fact.identity.task_id, fact.identity.name, fact.identity.label))
    if fact.kind == "started":
        steps = replace(steps, started_at=min(fact.at, steps.started_at or fact.at))
    if fact.kind in ENDINGS:
        steps = replace(steps, ended_at=max(fact.at, steps.ended_at or fact.at))
    if fact.kind in BREAKS:
        steps = _broken(steps, fact)
    return sum_up(run, steps)


def sum_up(run: Run, steps: Steps, identity: Identity | None = None) -> Run:
    """Return the run as these steps make it; the very same object where they are as before."""
    identity = identity or run.identity
    if run.steps is not None and (run.steps.letters, run.steps.total) != (steps.letters, steps.total):
        steps = replace(steps, lost_at=None)
    if run.steps == steps and run.identity == identity:
        return run
    state = steps.state
    failure = steps.failure if state == "failed" else None
    return replace(
        run,
        identity=identity,
        steps=steps,
        state=state,
        late=run.late and state == "queued",
        # By this a reaper says what it has seen.
        execution=f"{zlib.crc32(f'{steps.letters} {steps.total}'.encode()):08x}",
        done=float(steps.ended),
        total=float(steps.total) if steps.total is not None else None,
        error_message=(failure[1] or None) if failure else None,
        error_reference=(failure[2] or None) if failure else None,
        started_at=steps.started_at,
        finished_at=(steps.lost_at or steps.ended_at) if state in ENDINGS else None,
    )


def _broken(steps: Steps, fact: Fact) -> Steps:
    identity, state = fact.identity, STATES[LETTERS[fact.kind]]  # type: ignore[index]
    if identity.step is None:
        steps = replace(steps, broken=tuple(sorted({*steps.broken, state})))
    if fact.kind == "failed":
        place = identity.step if identity.step is not None else identity.skips[0][0]
        found = (place, fact.error_message or "", fact.error_reference or "")
        steps = replace(steps, failure=min(found, steps.failure or found))
    return steps.skipped(identity.skips)
