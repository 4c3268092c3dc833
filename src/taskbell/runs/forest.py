"""Runs and the trees they are steps of, in memory: facts in, changes out. Pure; the tick and readers use it alike."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from taskbell.runs.states import FINAL, STEPS_SHOWN, Fact, Identity, Kind, Run, State, apply, dated
from taskbell.runs.tree import (
    BREAKS,
    STATES,
    Steps,
    apply_to_step,
    apply_to_tree,
    join,
    step_id,
    step_identity,
    sum_up,
    tree_identity,
)

# Told of a run that is on its way; none of them tells that it is.
_ASIDE = frozenset({"late", "cancelling", "progress"})


@dataclass(frozen=True, slots=True)
class Change:
    """What a fact did to a run."""

    fact: Fact
    before: Run | None
    after: Run

    @property
    def is_move(self) -> bool:
        """Whether the state changed, and not merely how far it is."""
        if self.before is None or self.before.state != self.after.state:
            return True
        return self.after.steps is None and self.fact.kind != "progress"

    @property
    def is_repetition(self) -> bool:
        """Whether it had ended so before: handed out twice, a task may run to its end twice, and that is no news."""
        return (
            self.after.steps is None
            and self.before is not None
            and self.before.ended
            and self.before.state == self.after.state
        )


def ids_of(fact: Fact) -> Iterator[str]:
    """Return the ids of all runs that a fact may touch, so that they can be read beforehand."""
    identity: Identity | None = fact.identity
    while identity is not None:
        yield identity.run
        if tree := identity.in_tree:
            yield tree
            yield from (step_id(tree, step) for step in _shown(identity.skips))
        identity = identity.replaces
    yield from (step_id(fact.identity.run, step) for step in range(len(fact.plan)))


class Forest:
    """The runs of a few facts. Has to be given those that `ids_of` names, as far as they exist.

    `now` dates what moves, by the clock of whoever folds; readers have no use for it.
    """

    def __init__(self, runs: Mapping[str, Run], now: float | None = None) -> None:
        self.runs = dict(runs)
        self._now = now
        self.gone: set[str] = set()
        self._touched: dict[str, tuple[Fact, Run | None]] = {}

    def take(self, fact: Fact) -> list[Change]:
        """Apply a fact and all that follows from it; return what changed, each run once and trees last."""
        self._touched = {}
        self._take(fact)
        changes = [
            Change(by, before, self.runs[id])
            for id, (by, before) in self._touched.items()
            if id in self.runs and self.runs[id] is not before
        ]
        return sorted(changes, key=lambda change: change.after.steps is not None)

    def _take(self, fact: Fact) -> None:
        identity = fact.identity
        run = self.runs.get(identity.run)
        if fact.kind == "steps" or (run is not None and run.steps is not None):
            self._take_for_tree(fact)
            return
        state = self._take_quietly(fact) if identity.is_quiet else self._put(apply(run, fact), fact).state
        if identity.in_tree:
            self._roll_up(fact, state)
        if identity.replaces is not None and fact.kind in BREAKS:
            self._take(self._passed_on(fact, identity.replaces))

    def _take_quietly(self, fact: Fact) -> State | None:
        """Return the state of a step that has a row only while it is under way; None of a carrier."""
        identity = fact.identity
        run, letter = self.runs.get(identity.run), self._letter(identity)
        if STATES.get(letter) in FINAL:
            return join(letter, fact.kind)
        if fact.kind == "queued" or (run is None and fact.kind in _ASIDE):
            return STATES.get(letter)
        after = apply(run, fact)
        if after.state in FINAL:
            self._drop(identity.run)
        else:
            self._put(after, fact)
        return after.state if identity.step is not None else None

    def _roll_up(self, fact: Fact, state: State | None) -> None:
        tree = self._tree_of(fact.identity)
        self._put(apply_to_step(tree, fact, state), fact)
        if fact.kind in BREAKS:
            self._skip(tree.identity.run, _shown(fact.identity.skips), fact)

    def _take_for_tree(self, fact: Fact) -> None:
        tree = self.runs.get(fact.identity.run) or sum_up(Run(identity=fact.identity), Steps())
        self._put(apply_to_tree(tree, fact), fact)
        self._skip(fact.identity.run, range(len(fact.plan)), fact)

    def _skip(self, tree: str, places: Iterable[int], fact: Fact) -> None:
        """Give a run of their own to shown steps that are skipped, once it is known what they would have been."""
        whole = self.runs[tree]
        steps = whole.steps or Steps()
        owned = replace(whole.identity, user_key=fact.identity.user_key)
        for place in places:
            planned = steps.plan[place] if place < len(steps.plan) else None
            if planned is None or steps.state_of(place) != "skipped" or step_id(tree, place) in self.runs:
                continue
            skipped = Fact(identity=step_identity(owned, place, planned), kind="skipped", at=fact.at)
            self._put(apply(None, skipped), skipped)

    def _passed_on(self, fact: Fact, to: Identity) -> Fact:
        """Return what the end of a task means for the run that it replaced."""
        run = self.runs.get(to.run)
        kind: Kind = "failed" if fact.kind == "expired" else fact.kind
        attempt, execution = (run.attempt, run.execution) if run is not None else (1, "")
        return replace(fact, identity=to, kind=kind, attempt=attempt, execution=execution)

    def _tree_of(self, identity: Identity) -> Run:
        of = tree_identity(identity)
        return self.runs.get(of.run) or sum_up(Run(identity=of), Steps())

    def _letter(self, identity: Identity) -> str:
        tree = self.runs.get(identity.in_tree or "")
        if identity.step is None or tree is None or tree.steps is None:
            return ""
        return tree.steps.letter(identity.step)

    def _put(self, run: Run, fact: Fact) -> Run:
        id = run.identity.run
        before = self.runs.get(id)
        if run is not before and self._now is not None:
            run = dated(before, run, fact, self._now)
        self._touched.setdefault(id, (fact, before))
        self.runs[id] = run
        self.gone.discard(id)
        return run

    def _drop(self, id: str) -> None:
        self.runs.pop(id, None)
        self.gone.add(id)


def _shown(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, min(last + 1, STEPS_SHOWN))
