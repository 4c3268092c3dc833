"""The reaper and trees: which one nobody can end any more, by a clock that the test sets."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from taskbell.models import Worker
from taskbell.runs.header import new_run
from taskbell.runs.states import STEPS_SHOWN
from tests.runs.telling import SECOND, TreeLife, told
from tests.runs.watching import Watch

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

LATE_AFTER, QUEUE_LIMIT = 60, 86_400
# A step without a row of its own.
QUIET = STEPS_SHOWN + 1


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with override_settings(TASKBELL={"LATE_AFTER": LATE_AFTER, "QUEUE_LIMIT": QUEUE_LIMIT}):
        yield


@pytest.fixture
def tree(ada: Any) -> TreeLife:
    return TreeLife(ada)


class TestNeverClosed:
    def test_is_lost_when_all_that_is_known_has_ended_for_a_while(self, tree: TreeLife, watch: Watch) -> None:
        told(tree.step(0)("succeeded"), tree.step(1)("failed"))
        assert watch.wait(LATE_AFTER - 1) == []
        assert watch.wait(2) == ["lost"]
        assert (tree.row.state, watch.watch(3)) == ("lost", [])

    def test_is_not_lost_while_a_step_waits_or_runs(self, tree: TreeLife, watch: Watch) -> None:
        waits, runs = tree.step(1), tree.step(2)
        told(tree.step(0)("succeeded"), waits("queued"), runs("started"))
        # It is the step that is late, and not its tree.
        assert watch.wait(LATE_AFTER + 1) == ["late"]
        told(runs("succeeded"))
        assert watch.wait(LATE_AFTER + 1) == []
        told(waits("started"), waits("succeeded"))
        assert watch.wait(LATE_AFTER - 1) == []
        assert watch.wait(2) == ["lost"]

    def test_each_step_that_ends_begins_the_wait_anew(self, tree: TreeLife, watch: Watch) -> None:
        for place in range(3):
            told(tree.step(place)("succeeded"))
            assert watch.wait(LATE_AFTER - 1) == []
        assert watch.wait(2) == ["lost"]

    def test_is_taken_back_by_whatever_is_told_later(self, tree: TreeLife, watch: Watch) -> None:
        told(tree.step(0)("succeeded"))
        assert watch.wait(LATE_AFTER + 1) == ["lost"]
        told(tree.step(1)("started"))
        assert tree.row.state == "running"
        told(tree.step(1)("succeeded"))
        assert watch.wait(LATE_AFTER + 1) == ["lost"]
        told(tree.close(2))
        assert tree.row.state == "succeeded"
        assert watch.wait(QUEUE_LIMIT + 1) == []


class TestStill:
    def test_is_lost_when_nothing_has_moved_for_the_limit(self, tree: TreeLife, watch: Watch) -> None:
        """The message of a late step was lost: it has no row by which anybody would miss it."""
        told(tree.close(QUIET + 1, (1, QUIET - 1)), tree.step(0)("succeeded"))
        assert tree.row.state == "running"
        assert watch.wait(QUEUE_LIMIT - 1) == []
        assert watch.wait(2) == ["lost"]
        assert tree.row.state == "lost"

    def test_any_move_begins_the_wait_anew(self, tree: TreeLife, watch: Watch) -> None:
        told(tree.close(QUIET + 2, (1, QUIET - 1)), tree.step(0)("succeeded"))
        watch.now += QUEUE_LIMIT - 10
        told(tree.step(QUIET)("succeeded"))
        assert watch.wait(20) == []
        assert watch.wait(QUEUE_LIMIT) == ["lost"]

    def test_is_taken_back_by_the_step_that_comes_after_all(self, tree: TreeLife, watch: Watch) -> None:
        told(tree.close(QUIET + 1, (1, QUIET - 1)), tree.step(0)("succeeded"))
        assert watch.wait(QUEUE_LIMIT + 1) == ["lost"]
        late = tree.step(QUIET)
        told(late("started"))
        assert tree.row.state == "running"
        told(late("succeeded"))
        assert tree.row.state == "succeeded"

    def test_one_of_which_nothing_began_is_late_and_lost_as_any_run(self, tree: TreeLife, watch: Watch) -> None:
        told(tree.close(2))
        assert watch.wait(LATE_AFTER + 1) == ["late"]
        assert watch.wait(QUEUE_LIMIT) == ["lost"]
        assert tree.row.state == "lost"
        told(tree.step(0)("started"))
        assert tree.row.state == "running"

    def test_a_step_at_work_is_watched_by_its_worker_alone(self, tree: TreeLife, watch: Watch) -> None:
        by = Worker.objects.create(id=new_run(), name="celery@here", beat=1)
        slow = tree.step(0)
        told(tree.close(1), slow("started", worker=str(by.id)))
        watch.step()
        watch.now += QUEUE_LIMIT + 1
        Worker.objects.update(beat=2)
        assert watch.step() == []
        told(slow("lost"))
        assert tree.row.state == "lost"
        told(slow("started", execution=SECOND), slow("succeeded", execution=SECOND))
        assert tree.row.state == "succeeded"
