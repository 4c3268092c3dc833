"""Trees in the tables and on the wire: bounded rows, one moving bar, and the same rows however batches are cut."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from taskbell import get_run
from taskbell.models import Log, Run
from taskbell.runs.facts import from_bytes, from_row, to_bytes, to_row
from taskbell.runs.read import list_runs
from taskbell.runs.rows import to_run
from taskbell.runs.states import STEPS_SHOWN, Fact, Tree
from taskbell.runs.tree import step_id
from taskbell.store.outbox import key_of
from taskbell.testing import deliver
from tests.runs.telling import identity, newest, tell, told
from tests.runs.test_forest import FIRST, TREE, all_told, fact, whole

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

MANY = 300


class Grove:
    """A tree of Ada's: `grove(3, "started")` is what its fourth step tells next."""

    def __init__(self, user: Any) -> None:
        self.own = identity(user, label="Import 42", name="")
        self.of = Tree(label="Import 42", queued_at=self.own.queued_at)
        self.user = user

    def __call__(self, step: int, kind: Any, *skips: tuple[int, int], **values: Any) -> Fact:
        run = step_id(self.own.run, step)
        mine = identity(self.user, run=run, parent=self.own.run, step=step, tree=self.of, skips=skips)
        return Fact(**({"identity": mine, "kind": kind, "at": 1e9, "execution": FIRST} | values))

    def close(self, total: int) -> Fact:
        plan = tuple((f"t{step}", "n", f"Step {step}") for step in range(min(total, STEPS_SHOWN)))
        return Fact(identity=self.own, kind="steps", at=1e9, total=float(total), plan=plan)

    @property
    def row(self) -> Run:
        return Run.objects.get(id=self.own.run)

    @property
    def steps(self) -> int:
        return Run.objects.filter(parent=self.own.run).count()


@pytest.fixture
def grove(ada: Any) -> Grove:
    return Grove(ada)


def of_tree(grove: Grove, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["id"] == grove.own.run]


def test_a_tree_is_told_as_its_steps_move(grove: Grove) -> None:
    events = told(grove.close(2), grove(0, "started"), grove(0, "succeeded"), grove(1, "started"), grove(1, "failed"))
    assert [(event["was"], event["state"]) for event in of_tree(grove, events)] == [
        (None, "queued"), ("queued", "running"), ("running", "failed"),
    ]  # fmt: skip
    steps = of_tree(grove, events)[-1]["steps"]
    assert (steps["total"], steps["succeeded"], steps["failed"], steps["queued"]) == (2, 1, 1, 0)
    assert steps["list"] == [
        {"id": step_id(grove.own.run, 0), "label": "Resizing photo", "state": "succeeded"},
        {"id": step_id(grove.own.run, 1), "label": "Resizing photo", "state": "failed"},
    ]


def test_an_end_is_told_once_whatever_comes_after_it_in_the_same_batch(grove: Grove) -> None:
    """An earlier start changes the row, and nothing that anyone sees."""
    events = told(grove.close(1), grove(0, "succeeded"), grove(0, "started", at=9e8))
    assert [event["state"] for event in of_tree(grove, events)] == ["queued", "succeeded"]
    assert grove.row.started_at.timestamp() == 9e8  # type: ignore[union-attr]
    assert of_tree(grove, told(grove(0, "started", at=8e8))) == []


def test_many_steps_are_few_rows_and_one_bar(grove: Grove) -> None:
    told(grove.close(MANY))
    assert Run.objects.count() == 1
    before = newest()
    for step in range(MANY):
        tell(grove(step, "started"))
        deliver()
        assert grove.steps <= STEPS_SHOWN + 1
        tell(grove(step, "succeeded"))
        deliver()
    assert (grove.row.state, grove.row.done, grove.steps) == ("succeeded", MANY, STEPS_SHOWN)
    moved = Log.objects.filter(seq__gt=before)
    assert moved.count() <= 100 + 4 * STEPS_SHOWN
    # But for its two changes of state, what is replayed of it is the newest.
    assert set(moved.exclude(latest_key=None).values_list("latest_key", flat=True)) == {grove.own.run}


def test_a_row_that_is_not_told_is_written_all_the_same(grove: Grove, ada: Any) -> None:
    told(grove.close(10_000), *(grove(step, "started") for step in range(STEPS_SHOWN, STEPS_SHOWN + 5)))
    seq, before = grove.row.seq, newest()
    assert told(grove(STEPS_SHOWN, "succeeded")) == []
    assert (grove.row.done, grove.row.seq, newest()) == (1, seq, before)
    run = get_run(grove.own.run, ada)
    assert run is not None
    assert run.as_json()["steps"]["running"] == 4


def test_of_an_account_that_is_gone_nothing_is_kept(grove: Grove, ada: Any) -> None:
    tell(grove(STEPS_SHOWN, "started"))
    ada.delete()
    deliver()
    assert not Run.objects.exists()


def test_steps_are_not_in_the_list(grove: Grove, ada: Any) -> None:
    told(grove.close(2), grove(0, "started"))
    tell(grove(1, "started"), grove(STEPS_SHOWN, "started"))
    [run] = list_runs(ada)[0]
    assert run.id == grove.own.run
    assert run.as_json()["steps"]["running"] == 3


def test_a_tree_just_enqueued_is_found_by_its_result(grove: Grove, ada: Any) -> None:
    tell(grove.close(2))
    run = get_run(grove.own.task_id, ada)
    assert run is not None
    assert (run.state, run.as_json()["steps"]["queued"]) == ("queued", 2)


def test_the_reaper_knows_a_late_step_whole(grove: Grove, ada: Any) -> None:
    """Its facts are made from the row: they still skip what follows, and count in the tree."""
    told(grove.close(STEPS_SHOWN + 2), grove(STEPS_SHOWN, "started", (STEPS_SHOWN + 1, STEPS_SHOWN + 1)))
    run = to_run(Run.objects.get(step=STEPS_SHOWN))
    own = replace(run.identity, user_key=key_of(ada))
    told(Fact(identity=own, kind="lost", at=1e9, attempt=run.attempt, execution=run.execution))
    found = get_run(grove.own.run, ada)
    assert found is not None
    steps = found.as_json()["steps"]
    assert (steps["lost"], steps["skipped"]) == (1, 1)


SAME = [field.name for field in Run._meta.concrete_fields if field.name not in {"id", "recipient", "seq", "since"}]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(all_told)
def test_batches_cut_anywhere_make_the_same_rows(ada: Any, facts: list[Fact]) -> None:
    mine = [replace(one, identity=replace(one.identity, user_key=key_of(ada))) for one in facts]
    told(*mine)
    whole_rows = rows()
    for one in mine:
        told(one)
    cut_rows = rows()
    assert whole_rows == cut_rows


def rows() -> list[tuple[Any, ...]]:
    found = list(Run.objects.order_by("id").values_list("id", *SAME))
    Run.objects.all().delete()
    return found


def test_facts_of_trees_survive_their_rows() -> None:
    told_of: list[Fact] = [whole(3, (1, 2)), fact(1, "failed", (2, 4), (7, 7)), fact(None, "lost", (1, 1))]
    assert [from_row(to_row(one)) for one in told_of] == told_of
    assert [from_bytes(to_bytes(one)) for one in told_of] == told_of
    assert whole(1).identity.run == TREE
