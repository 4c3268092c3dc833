"""Which tree is being enqueued: a `batch`, or what a task queue applies as one. Each task published inside is a step.

A tree is told of by its steps and, once all of it was enqueued, by one fact of its own: how many steps there are, and
what the first of them will be.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from taskbell.models import TASK_ID_LENGTH
from taskbell.runs import header
from taskbell.runs.here import Here, current_run, tell_queued
from taskbell.runs.states import STEPS_SHOWN, Fact, Identity, Tree
from taskbell.runs.tree import Planned, Range

LABEL_LENGTH: Final = 255

logger = logging.getLogger("taskbell")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A task that people may see and that is published later, by what is published now."""

    task_id: str
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands in a tree: its step, None for a carrier, and the steps that follow it by their task ids."""

    tree: str
    of: Tree
    step: int | None
    after: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """What is enqueued as one: `id` is the run that shows it, once there is a task in it."""

    id: str


@dataclass(slots=True)
class _Area:
    """Places kept for one part of a tree, so that its steps stand together; `end` is None for the whole."""

    next: int = 0
    end: int | None = None


@dataclass(slots=True)
class Scope:
    """A tree while it is enqueued; may be used by several threads."""

    here: Here | None
    label: str = ""
    engine: str = ""
    # What a canvas is called by its queue is the id of its result; a batch has none.
    is_batch: bool = False
    run: str = field(default_factory=header.new_run)
    task_id: str = ""
    queued_at: float = field(default_factory=time.time)
    user_key: str | None = None
    whole: _Area = field(default_factory=_Area)
    plan: dict[int, Planned] = field(default_factory=dict)
    # Steps that a task in flight brings, by its id, until the broker has it.
    unsent: dict[str, list[int]] = field(default_factory=dict)
    followers: dict[str, int] = field(default_factory=dict)
    # Those among them that wait for several tasks.
    bodies: list[int] = field(default_factory=list)
    holes: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def of(self) -> Tree:
        """What steps tell of this tree."""
        parent = self.here.identity if self.here is not None else None
        return Tree(
            label=self.label,
            parent=parent.nearest if parent is not None else None,
            root=(parent.root or parent.nearest) if parent is not None else None,
            queued_at=self.queued_at,
        )

    @property
    def _asked_at(self) -> float | None:
        spawner = self.here.identity if self.here is not None else None
        return spawner.origin if spawner is not None and spawner.user_key == self.user_key else None

    def place(
        self, task: Leaf, user_key: str, engine: str, chain: Sequence[Leaf], body: Sequence[Leaf]
    ) -> Place | None:
        """Give a task (a carrier if it has no label) its place, and keep places for what follows it.

        A tree is one person's: a task for another gets None.
        """
        with self.lock:
            if self.user_key is None:
                first = next(leaf for leaf in (task, *chain, *body) if leaf.label)
                self.user_key, self.engine, self.label = user_key, engine, self.label or first.label
            if self.user_key != user_key:
                return None
            given = self.unsent.setdefault(task.task_id, [])
            step = self._give(task, 0, given) if task.label else None
            after = {leaf.task_id: self._keep(leaf, 0, given) for leaf in chain}
            after |= {leaf.task_id: self._keep(leaf, 1, given) for leaf in body if leaf.task_id not in after}
            return Place(self.run, self.of, step, after)

    def confirm(self, task_id: str) -> bool:
        """Note that the broker has a task; return whether it is a late step, of which nothing is told now."""
        given = self.unsent.pop(task_id, [])
        return given[:1] >= [STEPS_SHOWN]

    def call(self, task_id: object) -> None:
        """Take the id by which the queue calls the whole."""
        known = kept_by(self.here.identity if self.here is not None else None)
        if not self.is_batch and isinstance(task_id, str) and len(task_id) <= TASK_ID_LENGTH and task_id not in known:
            self.task_id = task_id

    def break_off(self, since: int) -> None:
        """Note that what should have been enqueued was not: bodies waiting for it never run."""
        self.holes |= set(self.bodies[since:])

    def tell(self) -> None:
        """Tell of the whole, in the transaction that is open; nothing if there is no step in it."""
        if self.user_key is None:
            return
        of, never = self.of, self.holes.union(*self.unsent.values())
        identity = Identity(
            run=self.run,
            task_id=self.task_id or self.run,
            engine=self.engine,
            name="",
            label=of.label,
            user_key=self.user_key,
            parent=of.parent,
            root=of.root,
            queued_at=of.queued_at,
            asked_at=self._asked_at,
        )
        tell_queued(
            Fact(
                identity=identity,
                kind="steps",
                at=time.time(),
                total=float(self.whole.next),
                plan=tuple(self.plan.get(step, ("", "", "")) for step in range(min(self.whole.next, STEPS_SHOWN))),
                holes=ranges_of(never),
            )
        )

    def _keep(self, leaf: Leaf, level: int, given: list[int]) -> int:
        if leaf.task_id not in self.followers:
            self.followers[leaf.task_id] = self._give(leaf, level, given)
            if level:
                self.bodies.append(self.followers[leaf.task_id])
        return self.followers[leaf.task_id]

    def _give(self, leaf: Leaf, level: int, given: list[int]) -> int:
        area = self._area_with(1, _areas.get(), level)
        step, area.next = area.next, area.next + 1
        given.append(step)
        if step < STEPS_SHOWN:
            self.plan[step] = (leaf.task_id, leaf.name, leaf.label)
        return step

    def _area_with(self, room: int, areas: Sequence[_Area], level: int = 0) -> _Area:
        """Return the innermost area with room, `level` areas further out."""
        for area in reversed(areas[: len(areas) - level] if level else areas):
            if area.end is not None and area.next + room <= area.end:
                return area
        return self.whole

    @contextmanager
    def area(self, room: int) -> Iterator[None]:
        """Keep the next places together for what is published inside; those that nobody takes are holes."""
        with self.lock:
            outer = self._area_with(room, _areas.get())
            inner = _Area(outer.next, outer.next + room)
            outer.next += room
        token = _areas.set((*_areas.get(), inner))
        try:
            yield
        finally:
            _areas.reset(token)
            self.holes |= set(range(inner.next, inner.end or 0))


_scope: Final[ContextVar[Scope | None]] = ContextVar("taskbell_scope", default=None)
_areas: Final[ContextVar[tuple[_Area, ...]]] = ContextVar("taskbell_areas", default=())


def current_scope() -> Scope | None:
    """Return the tree that this code enqueues; what a task within it enqueues by itself is no step."""
    scope = _scope.get()
    return scope if scope is not None and scope.here is current_run() else None


@contextmanager
def scope(label: str = "", *, is_batch: bool = False) -> Iterator[Scope]:
    """Enqueue a tree; inside of another one, join it."""
    outer = current_scope()
    if outer is not None:
        with _breaking(outer):
            yield outer
        return
    own = Scope(current_run(), label, is_batch=is_batch)
    token, areas = _scope.set(own), _areas.set(())
    try:
        with _breaking(own):
            yield own
    finally:
        _areas.reset(areas)
        _scope.reset(token)
        _tell(own)


@contextmanager
def batch(label: str) -> Iterator[Batch]:
    """Show all tasks that are enqueued inside as one run, called `label`; a batch within another one joins it.

    Yields a `Batch`, whose `id` is that of the run. With no task inside that people may see, there is none.
    """
    with scope(str(label)[:LABEL_LENGTH], is_batch=True) as opened:
        yield Batch(opened.run)


def kept_by(identity: Identity | None) -> set[str]:
    """Return the ids of tasks that have their run already: this one, what follows it, and what it replaced."""
    kept: set[str] = set()
    while identity is not None:
        kept |= {identity.task_id, *(identity.after or ())}
        identity = identity.replaces
    return kept


def ranges_of(steps: Iterable[int]) -> tuple[Range, ...]:
    """Return places as ranges, first and last."""
    ranges: list[Range] = []
    for step in sorted(steps):
        if ranges and ranges[-1][1] == step - 1:
            ranges[-1] = (ranges[-1][0], step)
        else:
            ranges.append((step, step))
    return tuple(ranges)


@contextmanager
def _breaking(scope: Scope) -> Iterator[None]:
    since = len(scope.bodies)
    try:
        yield
    except BaseException:
        scope.break_off(since)
        raise


def _tell(scope: Scope) -> None:
    try:
        scope.tell()
    except Exception:
        # Its steps tell of it all the same.
        logger.exception("The steps of %r are not counted.", scope.label)
