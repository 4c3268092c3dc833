"""Eager tasks: no message and no worker, and their owners are told all the same."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from taskbell import for_user
from taskbell.models import Outbox
from taskbell.runs.here import current_run
from taskbell.runs.states import ENDINGS
from taskbell.testing import deliver
from tests.engines import tasks, ways_to_end
from tests.engines.project import app
from tests.engines.publishing import committing
from tests.runs.telling import waiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]


class TestEager:
    """No message and no worker: the task runs in its caller's transaction, and is told in it."""

    @pytest.fixture(autouse=True)
    def _eager(self) -> Iterator[None]:
        app.conf.task_always_eager = True
        yield
        app.conf.task_always_eager = False
        assert current_run() is None

    def events(self) -> list[tuple[str, str, str | None]]:
        from taskbell.models import Log

        deliver()
        events = [json.loads(text) for text in Log.objects.order_by("seq").values_list("payload", flat=True)]
        return [(event["name"].rpartition(".")[2], event["state"], event["parent"]) for event in events]

    def test_is_told_at_once(self, ada: Any) -> None:
        with for_user(ada):
            tasks.succeed.delay()
            tasks.fail.delay()
            tasks.publish_results.delay({"n": 1})
        assert [state for _, state, _ in self.events()] == [
            "running",
            "succeeded",
            "running",
            "failed",
            "running",
            "succeeded",
        ]

    @committing
    @pytest.mark.parametrize("propagates", [False, True], ids=["", "propagates"])
    @pytest.mark.parametrize(
        ("task", "state"),
        [
            (tasks.fail, "failed"),
            (tasks.ignore, "succeeded"),
            (ways_to_end.reject, "failed"),
            (ways_to_end.requeue_in_vain, "failed"),
            (ways_to_end.exit_from_python, "failed"),
            (ways_to_end.run_out_of_memory, "failed"),
            (ways_to_end.fail_before_start, "failed"),
            (tasks.never, "failed"),
        ],
    )
    def test_row_37_eager_endings(self, ada: Any, task: Any, state: str, propagates: bool) -> None:
        """Also where nothing but Python's own exception says how it ended."""
        app.conf.task_eager_propagates = propagates
        try:
            with for_user(ada), suppress(Exception, SystemExit):
                task.delay()
        finally:
            app.conf.task_eager_propagates = False
        endings = [state for _, state, _ in self.events() if state in ENDINGS]
        assert endings == [state]

    def test_goes_with_the_transaction(self, ada: Any) -> None:
        with transaction.atomic(), for_user(ada):
            tasks.succeed.delay()
            transaction.set_rollback(True)
        assert not Outbox.objects.exists()

    def test_a_task_within_a_task_leaves_the_outer_one_its_run(self, ada: Any) -> None:
        with for_user(ada):
            tasks.spawn.delay()
        [spawn, inner, inner_end, end] = self.events()[:1] + self.events()[-3:]
        assert (spawn[:2], inner[:2], inner_end[:2], end[:2]) == (
            ("spawn", "running"), ("spawned", "running"), ("spawned", "succeeded"), ("spawn", "succeeded"),
        )  # fmt: skip
        assert inner[2] is not None

    def test_a_hidden_task_within_moves_no_bar(self, ada: Any) -> None:
        from taskbell import progress

        @app.task(name="tests.engines.tasks.outer")
        def outer() -> None:
            tasks.hidden.delay()
            progress(7, 7)

        with for_user(ada):
            outer.delay()
        assert [fact.get("done") for fact in waiting() if fact["identity"]["name"].endswith("outer")] == [None, 7, 7]

    def test_a_hidden_task_within_hands_its_owner_on_and_tells_nothing(self, ada: Any) -> None:
        @app.task(name="tests.engines.tasks.outermost")
        def outermost() -> None:
            tasks.hidden.delay()

        with for_user(ada):
            outermost.delay()
        [outer, *within, _] = waiting()
        assert [fact["identity"]["name"].rpartition(".")[2] for fact in within] == ["spawned", "spawned"]
        assert {fact["identity"]["parent"] for fact in within} == {outer["identity"]["run"]}

    def test_a_retry_keeps_its_run(self, ada: Any) -> None:
        with for_user(ada):
            tasks.twice.delay()
        assert len({fact["identity"]["run"] for fact in waiting()}) == 1
        assert self.events()[-1][1] == "succeeded"

    def test_nobodys_task_is_not_told(self) -> None:
        tasks.succeed.delay()
        assert waiting() == []
