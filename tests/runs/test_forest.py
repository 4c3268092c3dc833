"""Trees: whatever order the facts of steps come in, however often, the tree ends as its steps did."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbell.runs.forest import Forest, ids_of
from taskbell.runs.states import FINAL, STEPS_SHOWN, Fact, Identity, Kind, Run, Tree
from taskbell.runs.tree import Steps, step_id

TREE = str(uuid.UUID(int=1))
OF = Tree(label="Import 42", queued_at=100.0)
FIRST, SECOND = "00001-a", "00002-b"
# Of each kind: shown and not.
LATE = STEPS_SHOWN + 1

Forested = dict[str, Run]


def identity(step: int | None, skips: Iterable[tuple[int, int]] = (), **values: Any) -> Identity:
    run = step_id(TREE, step) if step is not None else str(uuid.UUID(int=2))
    defaults = {
        "run": run,
        "task_id": f"t{step}",
        "engine": "celery",
        "name": "n",
        "label": "" if step is None else f"Step {step}",
        "user_key": "1",
        "parent": TREE,
        "queued_at": 101.0,
        "tree": OF,
        "step": step,
        "skips": tuple(skips),
    }
    return Identity(**(defaults | values))


def fact(step: int | None, kind: Kind, *skips: tuple[int, int], **values: Any) -> Fact:
    defaults: dict[str, Any] = {"at": 200.0, "execution": "" if kind in {"queued", "skipped"} else FIRST}
    return Fact(identity=identity(step, skips), kind=kind, **(defaults | values))


def whole(total: int, *holes: tuple[int, int]) -> Fact:
    """The fact that closes a tree."""
    plan = tuple((f"t{step}", "n", f"Step {step}") for step in range(min(total, STEPS_SHOWN)))
    own = replace(
        identity(0), run=TREE, task_id="result", step=None, tree=None, parent=None, label="Import 42", queued_at=100.0
    )
    return Fact(identity=own, kind="steps", at=100.0, total=float(total), plan=plan, holes=holes)


def grown(*facts: Fact) -> Forest:
    forest = Forest({})
    for one in facts:
        forest.take(one)
    return forest


def tree(*facts: Fact) -> Run:
    return grown(*facts).runs[TREE]


def states(forest: Forest) -> dict[str, str]:
    return {id: run.state for id, run in forest.runs.items()}


def steps_of(run: Run) -> Steps:
    assert run.steps is not None
    return run.steps


class TestState:
    @pytest.mark.parametrize(
        ("kinds", "state"),
        [
            ([], "queued"),
            (["queued", "queued"], "queued"),
            (["started"], "running"),
            (["succeeded"], "running"),
            (["succeeded", "succeeded"], "succeeded"),
            (["succeeded", "failed"], "failed"),
            (["lost", "failed"], "failed"),
            (["lost", "cancelled"], "lost"),
            (["expired", "cancelled"], "cancelled"),
            (["succeeded", "expired"], "expired"),
            (["succeeded", "skipped"], "succeeded"),
            (["retrying", "failed"], "running"),
        ],
    )
    @pytest.mark.parametrize("first", [0, LATE])
    def test_is_that_of_its_steps(self, kinds: list[Kind], state: str, first: int) -> None:
        holes = [(step, step) for step in range(first)] if first else []
        told = [fact(first + at, kind) for at, kind in enumerate(kinds)]
        assert tree(whole(first + 2, *holes), *told).state == state

    def test_is_open_until_it_is_known_how_many_there_are(self) -> None:
        done = [fact(0, "succeeded"), fact(1, "succeeded")]
        assert (tree(*done).state, tree(*done).total, tree(*done).done) == ("running", None, 2)
        assert tree(*done, whole(2)).state == "succeeded"
        assert (tree(*done, whole(3)).state, tree(*done, whole(3)).total) == ("running", 3)

    def test_tells_of_the_first_step_that_failed(self) -> None:
        told = [
            fact(2, "failed", error_message="two"),
            fact(1, "failed", error_reference="ONE"),
            fact(0, "succeeded"),
        ]
        run = tree(whole(3), *told)
        assert (run.error_message, run.error_reference) == (None, "ONE")
        assert tree(whole(4), *told).error_reference is None

    def test_begins_with_the_first_and_ends_with_the_last(self) -> None:
        told = [fact(step, kind, at=at) for step, kind, at in
                [(1, "started", 205.0), (0, "started", 203.0), (1, "succeeded", 230.0), (0, "succeeded", 210.0)]]  # type: ignore[arg-type]  # fmt: skip
        run = tree(whole(2), *told)
        assert (run.started_at, run.finished_at, run.identity.queued_at) == (203, 230, 100)

    def test_a_step_alone_makes_the_tree(self) -> None:
        run = tree(fact(0, "started"))
        assert (run.identity.label, run.identity.queued_at, run.identity.step) == ("Import 42", 100, None)
        assert tree(fact(0, "started"), whole(1)).identity.task_id == "result"


class TestSkipped:
    def test_what_follows_a_failure_is_skipped(self) -> None:
        forest = grown(whole(3), fact(0, "failed", (1, 2)))
        assert states(forest) == {
            TREE: "failed",
            step_id(TREE, 0): "failed",
            **{step_id(TREE, n): "skipped" for n in (1, 2)},
        }
        assert forest.runs[step_id(TREE, 2)].identity.label == "Step 2"

    def test_also_where_it_is_told_before_the_plan(self) -> None:
        assert states(grown(fact(0, "failed", (1, 2)), whole(3))) == states(grown(whole(3), fact(0, "failed", (1, 2))))

    def test_late_steps_have_no_runs(self) -> None:
        many = 10_000
        forest = grown(whole(many), fact(0, "failed", (1, many - 1)))
        assert len(forest.runs) == 1 + STEPS_SHOWN
        assert forest.runs[TREE].state == "failed"
        assert steps_of(forest.runs[TREE]).count("skipped") == many - 1

    def test_a_task_that_nobody_is_shown_skips_too(self) -> None:
        run = tree(whole(2), fact(0, "succeeded"), fact(None, "failed", (1, 1), error_reference="R"))
        assert (run.state, run.error_reference) == ("failed", "R")

    def test_what_was_published_after_all_is_not_skipped(self) -> None:
        lost = [whole(2), fact(0, "started"), fact(0, "lost", (1, 1))]
        assert tree(*lost).state == "lost"
        back = [*lost, fact(0, "started", execution=SECOND), fact(1, "queued"), fact(0, "succeeded", execution=SECOND)]
        assert tree(*back).state == "running"
        assert tree(*back, fact(1, "succeeded")).state == "succeeded"

    def test_holes_are_steps_that_nobody_published(self) -> None:
        assert tree(whole(3, (1, 2)), fact(0, "succeeded")).state == "succeeded"
        assert tree(whole(2, (0, 1))).state == "skipped"


class TestQuiet:
    """Late steps of many have a row only while they are under way."""

    def test_a_late_step_has_a_run_while_it_runs(self) -> None:
        id = step_id(TREE, LATE)
        running = grown(whole(LATE + 1), fact(LATE, "started"))
        assert running.runs[id].state == "running"
        assert running.take(fact(LATE, "succeeded"))[-1].after.identity.run == TREE
        assert (id in running.runs, running.gone) == (False, {id})

    def test_what_waits_or_is_late_needs_none(self) -> None:
        told = [fact(LATE, kind) for kind in ("queued", "late", "cancelling", "progress")]  # type: ignore[arg-type]
        assert set(grown(*told).runs) == {TREE}

    def test_one_that_is_lost_is_kept_because_it_may_come_back(self) -> None:
        lost = [whole(LATE + 1, (0, LATE - 1)), fact(LATE, "started"), fact(LATE, "lost")]
        assert states(grown(*lost)) == {TREE: "lost", step_id(TREE, LATE): "lost"} | {
            step_id(TREE, step): "skipped" for step in range(STEPS_SHOWN)
        }
        assert tree(*lost, fact(LATE, "succeeded", execution=SECOND)).state == "succeeded"

    def test_what_is_told_after_its_end_opens_nothing(self) -> None:
        ended = [whole(LATE + 1), fact(LATE, "succeeded"), fact(LATE, "started"), fact(LATE, "lost")]
        assert steps_of(tree(*ended)).state_of(LATE) == "succeeded"
        assert step_id(TREE, LATE) not in grown(*ended).runs


class TestReplaced:
    def test_the_end_of_what_replaces_a_task_is_the_tasks_own(self) -> None:
        replaced = identity(0, [(1, 1)])
        part = replace(
            identity(0), run=str(uuid.UUID(int=3)), task_id="p", parent=None, step=None, tree=None, replaces=replaced
        )
        before = [whole(2), fact(0, "started", (1, 1))]
        good = Fact(identity=part, kind="succeeded", at=200.0, execution=SECOND)
        assert tree(*before, good).state == "running"
        bad = replace(good, kind="failed", error_reference="R")
        forest = grown(*before, bad)
        assert forest.runs[TREE].state == "failed"
        assert forest.runs[step_id(TREE, 0)].error_reference == "R"
        assert forest.runs[step_id(TREE, 1)].state == "skipped"


class TestLost:
    def test_a_tree_is_lost_as_it_was_seen(self) -> None:
        forest = grown(fact(0, "succeeded"))
        seen = forest.runs[TREE]
        gone = Fact(identity=seen.identity, kind="lost", at=300.0, execution=seen.execution)
        lost = grown(fact(0, "succeeded"), gone).runs[TREE]
        assert (lost.state, lost.finished_at) == ("lost", 300)
        assert tree(fact(0, "succeeded"), gone, whole(1)).state == "succeeded"
        assert tree(fact(0, "succeeded"), gone, fact(1, "started")).state == "running"
        # It is news only as long as nothing has moved.
        assert tree(fact(0, "succeeded"), fact(1, "started"), gone).state == "running"

    def test_late_is_said_of_a_tree_that_waits(self) -> None:
        seen = tree(whole(1))
        late = Fact(identity=seen.identity, kind="late", at=300.0, execution=seen.execution)
        assert tree(whole(1), late).late
        assert not tree(whole(1), late, fact(0, "started")).late


kinds: st.SearchStrategy[Kind] = st.sampled_from(
    ["queued", "started", "retrying", "succeeded", "failed", "cancelled", "expired", "lost"]
)
told = st.builds(
    lambda step, kind, attempt, execution, at: fact(
        step,
        kind,
        *({0: [(1, 1), (LATE, LATE + 1)], LATE: [(LATE + 1, LATE + 1)]}.get(step, [])),
        attempt=attempt,
        execution="" if kind == "queued" else execution,
        at=at,
        error_reference=f"{step}{attempt}{execution}" if kind == "failed" else None,
    ),
    st.sampled_from([0, 1, LATE, LATE + 1]),
    kinds,
    st.integers(1, 2),
    st.sampled_from(["", FIRST, SECOND]),
    st.floats(1e9, 2e9),
)
all_told = st.lists(told | st.just(whole(LATE + 2)), min_size=1, max_size=10)


def picture(forest: Forest) -> Any:
    """All that anyone sees of it, but for the moments at which steps were skipped."""
    run = forest.runs[TREE]
    rows = {id: (run.state, run.attempt, run.execution) for id, run in forest.runs.items() if id != TREE}
    return (
        rows,
        run.steps,
        run.state,
        run.done,
        run.total,
        run.error_reference,
        run.started_at,
        run.finished_at,
        run.execution,
    )


@given(all_told, st.randoms(use_true_random=False))
def test_any_order_makes_the_same_tree(facts: list[Fact], random: Any) -> None:
    shuffled = facts.copy()
    random.shuffle(shuffled)
    assert picture(grown(*facts)) == picture(grown(*shuffled))


@given(all_told)
def test_a_doubled_fact_changes_nothing(facts: list[Fact]) -> None:
    forest = grown(*facts)
    assert [forest.take(one) for one in facts] == [[] for _ in facts]


@given(all_told, st.integers(0, 10))
def test_a_forest_that_knows_only_what_its_facts_touch_knows_enough(facts: list[Fact], cut: int) -> None:
    """As the tick does: it reads the runs that `ids_of` names, and keeps what became of them."""
    kept: Forested = {}
    for batch in (facts[:cut], facts[cut:]):
        needed = {id for one in batch for id in ids_of(one)}
        forest = Forest({id: run for id, run in kept.items() if id in needed})
        for one in batch:
            forest.take(one)
        kept = {id: run for id, run in (kept | forest.runs).items() if id not in forest.gone}
    assert kept == grown(*facts).runs


@given(all_told)
def test_a_tree_ends_exactly_when_all_of_its_steps_have(facts: list[Fact]) -> None:
    run = tree(*facts)
    steps = steps_of(run)
    assert run.ended == (steps.total is not None and steps.ended == steps.known)
    assert sum(map(steps.count, [*FINAL, "queued", "running", "retrying", "lost", "skipped"])) == steps.known
