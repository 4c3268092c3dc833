"""The publishing side: whose a task is, what that costs, and that nothing of ours stops it. With a real broker."""

import asyncio
import json
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from celery import chain, chord, group, signals
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject, lazystr
from kombu.exceptions import OperationalError

from taskbell import for_user, get_run
from taskbell.exceptions import InvalidChannel
from taskbell.middleware import OwnerMiddleware
from taskbell.models import Outbox
from taskbell.runs import header
from taskbell.runs.here import current_run
from taskbell.runs.states import ENDINGS
from taskbell.runs.writer import writer
from taskbell.testing import deliver
from tests.engines import tasks, ways_to_end
from tests.engines.project import app
from tests.runs.telling import waiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]
committing = pytest.mark.django_db(transaction=True)

User = get_user_model()


@contextmanager
def published() -> Iterator[list[dict[str, Any]]]:
    """Collect the headers of the messages that leave."""
    seen: list[dict[str, Any]] = []

    def note(headers: dict[str, Any], **kwargs: Any) -> None:
        seen.append(headers)

    signals.after_task_publish.connect(note, weak=False, dispatch_uid="tests.published")
    try:
        yield seen
    finally:
        signals.after_task_publish.disconnect(dispatch_uid="tests.published")


def owners() -> list[str]:
    return [fact["identity"]["user_key"] for fact in waiting()]


def respond(view: Callable[[HttpRequest], Any], user: Any) -> HttpResponse:
    """Answer a request as Django does under WSGI."""
    request = RequestFactory().get("/")
    request.user = user

    def get_response(request: HttpRequest) -> HttpResponse:
        view(request)
        return HttpResponse()

    return OwnerMiddleware(get_response)(request)  # type: ignore[return-value]


class NotAsked:
    """A user that must not be loaded."""

    def __call__(self) -> Any:
        raise AssertionError("the session's user was loaded for a task that nobody is shown")


class TestOwner:
    def test_is_the_requests_user(self, ada: Any) -> None:
        respond(lambda request: tasks.succeed.delay(), SimpleLazyObject(lambda: ada))
        assert owners() == [str(ada.pk)]

    def test_is_whom_the_view_signed_in(self, ada: Any) -> None:
        """Token authentication: Django REST framework sets the user of the request that it wraps, in the view."""

        def view(request: HttpRequest) -> None:
            tasks.succeed.delay()
            request.user = ada
            tasks.succeed.delay()

        respond(view, AnonymousUser())
        assert owners() == [str(ada.pk)]

    def test_is_nobody_after_the_request(self, ada: Any) -> None:
        respond(lambda request: None, ada)
        tasks.succeed.delay()
        with pytest.raises(ZeroDivisionError):
            respond(lambda request: 1 // 0, ada)
        tasks.succeed.delay()
        assert owners() == []

    def test_is_not_the_other_threads_user(self, ada: Any) -> None:
        def view(request: HttpRequest) -> None:
            thread = threading.Thread(target=tasks.succeed.delay)
            thread.start()
            thread.join()

        respond(view, ada)
        assert owners() == []

    def test_is_whom_the_hook_names(self, ada: Any, bob: Any, settings: Any) -> None:
        settings.TASKBELL = settings.TASKBELL | {"OWNER": lambda request: bob}
        respond(lambda request: tasks.succeed.delay(), ada)
        assert owners() == [str(bob.pk)]

    def test_is_who_is_named_in_a_shell(self, ada: Any, bob: Any) -> None:
        with for_user(ada):
            tasks.succeed.delay()
            with for_user(None):
                tasks.succeed.delay()
            with for_user(bob):
                tasks.succeed.delay()
        tasks.succeed.delay()
        assert owners() == [str(ada.pk), str(bob.pk)]

    def test_who_is_named_comes_before_the_request(self, ada: Any, bob: Any) -> None:
        def view(request: HttpRequest) -> None:
            with for_user(bob):
                tasks.succeed.delay()
            with for_user(None):
                tasks.succeed.delay()

        respond(view, ada)
        assert owners() == [str(bob.pk)]

    @pytest.mark.parametrize("user", [AnonymousUser(), User(username="new")], ids=["anonymous", "not saved"])
    def test_nobody_else_can_be_named(self, user: Any) -> None:
        with pytest.raises(InvalidChannel):
            with for_user(user):
                pass

    @pytest.mark.parametrize("user", [AnonymousUser(), None])
    def test_is_nobody_where_nobody_is_signed_in(self, user: Any) -> None:
        with published() as sent:
            respond(lambda request: tasks.succeed.delay(), user)
        assert owners() == []
        assert header.NAME not in sent[0]


class TestAsync:
    """Under ASGI, where the writer tells "queued" because the event loop has no connection."""

    @staticmethod
    def respond(view: Callable[[HttpRequest], Awaitable[Any]], user: Any) -> None:
        request = RequestFactory().get("/")
        request.user = user

        async def get_response(request: HttpRequest) -> HttpResponse:
            await view(request)
            return HttpResponse()

        answer: Any = OwnerMiddleware(get_response)(request)
        asyncio.run(answer)

    @committing
    def test_the_run_is_there_when_the_answer_is(self, ada: Any) -> None:
        sent = []

        async def view(request: HttpRequest) -> None:
            sent.append(tasks.succeed.delay())

        try:
            for _ in range(5):
                self.respond(view, ada)
                run = get_run(sent[-1].id, ada)
                assert run is not None
                assert run.state == "queued"
        finally:
            assert writer.finish()

    @committing
    def test_a_user_that_is_not_loaded_yet_is(self, ada: Any) -> None:
        async def view(request: HttpRequest) -> None:
            tasks.succeed.delay()

        try:
            self.respond(view, SimpleLazyObject(lambda: User.objects.get(username="ada")))
            assert owners() == [str(ada.pk)]
        finally:
            assert writer.finish()

    def test_an_unlisted_task_loads_nobody(self) -> None:
        async def view(request: HttpRequest) -> None:
            tasks.hidden.delay()

        self.respond(view, SimpleLazyObject(NotAsked()))

    def test_two_requests_at_once_do_not_meet(self, ada: Any, bob: Any) -> None:
        from taskbell.runs.owner import in_request, owner_key

        async def one(user: Any) -> str | None:
            request = RequestFactory().get("/")
            request.user = user
            with in_request(request):
                await asyncio.sleep(0.01)
                return owner_key()

        async def both() -> list[str | None]:
            return await asyncio.gather(one(ada), one(bob))

        assert asyncio.run(both()) == [str(ada.pk), str(bob.pk)]


class TestCost:
    def test_an_owned_task_costs_one_insert(self, ada: Any) -> None:
        with for_user(ada), CaptureQueriesContext(connection) as captured:
            tasks.succeed.delay()
        assert [query["sql"].split()[0] for query in captured] == ["SAVEPOINT", "INSERT", "RELEASE"]

    def test_an_ownerless_task_costs_nothing(self) -> None:
        with published() as sent, CaptureQueriesContext(connection) as captured:
            tasks.succeed.delay()
        assert len(captured) == 0
        assert header.NAME not in sent[0]

    def test_an_unlisted_task_costs_nothing_and_loads_no_user(self) -> None:
        with published() as sent, CaptureQueriesContext(connection) as captured:
            respond(lambda request: tasks.hidden.delay(), SimpleLazyObject(NotAsked()))
        assert len(captured) == 0
        assert header.NAME not in sent[0]


class TestCarrier:
    """A task that nobody is shown, which hands its owner on."""

    def header_of(self, view: Callable[[HttpRequest], Any], user: Any) -> header.Identity | None:
        with published() as sent:
            respond(view, user)
        assert [fact for fact in waiting() if fact["kind"] != "steps"] == []
        text = sent[0].get(header.NAME)
        return header.read(text, sent[0]["id"]) if text is not None else None

    def test_knows_a_user_that_the_view_has_looked_at(self, ada: Any) -> None:
        user = SimpleLazyObject(lambda: ada)
        assert user.is_authenticated
        carrier = self.header_of(lambda request: tasks.quiet.delay(), user)
        assert carrier is not None
        assert (carrier.user_key, carrier.label) == (str(ada.pk), "")

    def test_knows_who_is_named(self, ada: Any) -> None:
        def view(request: HttpRequest) -> None:
            with for_user(ada):
                tasks.quiet.delay()

        assert self.header_of(view, SimpleLazyObject(NotAsked())) is not None

    def test_calls_no_hook(self, ada: Any, settings: Any) -> None:
        settings.TASKBELL = settings.TASKBELL | {"OWNER": NotAsked()}
        assert self.header_of(lambda request: tasks.quiet.delay(), ada) is None

    @pytest.mark.parametrize("user", [AnonymousUser(), None])
    def test_is_none_where_nobody_is_signed_in(self, user: Any) -> None:
        assert self.header_of(lambda request: tasks.quiet.delay(), user) is None

    @pytest.mark.parametrize("follower", [tasks.succeed, tasks.quiet])
    @pytest.mark.parametrize(
        "canvas",
        [
            lambda follower: chain(tasks.quiet.si(), follower),
            lambda follower: chain(tasks.quiet.si(), tasks.quiet.si(), group(tasks.quiet.si(), follower)),
            lambda follower: tasks.quiet.si().set(
                link=chord([tasks.quiet.si()] * 2, chain(tasks.quiet.si(), follower))
            ),
            lambda follower: tasks.quiet.si().set(link=follower),
            lambda follower: tasks.quiet.si().on_error(follower),
            lambda follower: tasks.quiet.si().set(link=tasks.quiet.si().on_error(follower)),
        ],
        ids=["chain", "group", "chord", "link", "errback", "errback of a link"],
    )
    def test_asks_for_the_user_only_on_the_way_to_what_is_shown(self, ada: Any, canvas: Any, follower: Any) -> None:
        asked = []
        user = SimpleLazyObject(lambda: asked.append(ada) or ada)
        carrier = self.header_of(lambda request: canvas(follower.si()).delay(), user)
        assert (carrier is not None) == bool(asked) == (follower is tasks.succeed)

    def test_is_not_led_by_what_a_task_is_given(self) -> None:
        """An argument that looks like a signature is none."""
        given = {"task": "tests.engines.tasks.succeed", "kwargs": {}, "options": {}}

        def view(request: HttpRequest) -> None:
            app.send_task("hidden.quiet", (given,), {"x": [given]}, link=tasks.quiet.si(given, x=[given]))

        assert self.header_of(view, SimpleLazyObject(NotAsked())) is None


class TestMessage:
    def test_carries_keys_signed_and_no_names(self, ada: Any) -> None:
        with for_user(ada), published() as sent:
            task = tasks.labelled.delay()
        text = sent[0][header.NAME]
        assert header.read(text, task.id).user_key == str(ada.pk)
        assert "ada" not in text
        with pytest.raises(header.ForgedHeader):
            header.read(text, "another")

    def test_is_signed_with_the_projects_own_key_if_there_is_one(self, ada: Any, settings: Any) -> None:
        with for_user(ada), published() as sent:
            task = tasks.labelled.delay()
            settings.TASKBELL = settings.TASKBELL | {"SIGNING_KEY": "of Taskbell alone"}
            with pytest.raises(header.ForgedHeader):
                header.read(sent[0][header.NAME], task.id)
            own = tasks.labelled.delay()
            assert header.read(sent[1][header.NAME], own.id).label == "Making your report"

    def test_is_read_with_the_key_before_this_one(self, ada: Any, settings: Any) -> None:
        with for_user(ada), published() as sent:
            task = tasks.labelled.delay()
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "the new one"
        assert header.read(sent[0][header.NAME], task.id)

    @pytest.mark.parametrize(
        ("label", "shown"),
        [("", "Succeed"), ("Making it", "Making it"), (lazystr("Lazy"), "Lazy"), ("é" * 300, "é" * 255)],
        ids=["empty", "text", "lazy", "long"],
    )
    def test_carries_the_label(self, ada: Any, settings: Any, label: Any, shown: str) -> None:
        settings.TASKBELL = {"TASKS": {"tests.engines.tasks.succeed": label}}
        with for_user(ada):
            tasks.succeed.delay()
        [queued] = waiting()
        assert queued["identity"]["label"] == shown

    def test_tells_when_it_is_due_and_when_it_expires(self, ada: Any) -> None:
        with for_user(ada):
            tasks.succeed.apply_async(countdown=100, expires=1_000)
        [queued] = waiting()
        assert queued["next_attempt_at"] - queued["at"] == pytest.approx(100, abs=1)
        assert queued["expires_at"] - queued["at"] == pytest.approx(1_000, abs=1)

    def test_a_forged_header_given_by_the_caller_is_replaced_and_counted_once_in_the_log(
        self, ada: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = header.forgeries
        with for_user(ada), published() as sent, caplog.at_level(logging.WARNING, "taskbell"):
            for _ in range(3):
                task = tasks.succeed.apply_async(headers={header.NAME: "forged:by:me"})
        assert header.forgeries == before + 3
        assert len([record for record in caplog.records if "not signed" in record.message]) <= 1
        assert header.read(sent[-1][header.NAME], task.id).user_key == str(ada.pk)

    def test_a_header_that_another_site_signed_is_as_good_as_none(self, ada: Any, settings: Any) -> None:
        id = str(uuid.uuid4())
        with override_settings(SECRET_KEY="of another site"), for_user(ada), published() as sent:
            tasks.succeed.apply_async(task_id=id)
        before = header.forgeries
        with pytest.raises(header.ForgedHeader):
            header.read(sent[0][header.NAME], id)
        with published() as again:
            tasks.succeed.apply_async(task_id=id, headers={header.NAME: sent[0][header.NAME]})
        assert header.NAME not in again[0]
        assert header.forgeries == before + 1

    def test_in_protocol_1_a_task_is_published_and_is_nobodys(self, ada: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Its message has no headers where protocol 2 has them."""
        app.amqp.__dict__["create_task_message"] = app.amqp.as_task_v1
        try:
            with for_user(ada), published() as sent:
                tasks.succeed.delay()
        finally:
            del app.amqp.__dict__["create_task_message"]
        assert sent == [{}]
        assert waiting() == []
        assert caplog.records == []

    def test_an_id_that_no_column_holds_is_nobodys(self, ada: Any) -> None:
        with for_user(ada):
            tasks.succeed.apply_async(task_id="x" * 300)
        assert waiting() == []


class TestTrouble:
    @committing
    def test_a_rollback_takes_queued_back(self, ada: Any) -> None:
        with transaction.atomic(), for_user(ada):
            tasks.succeed.delay()
            assert len(waiting()) == 1
            transaction.set_rollback(True)
        assert waiting() == []

    @committing
    def test_a_broken_transaction_does_not_stop_the_task(self, ada: Any, caplog: pytest.LogCaptureFixture) -> None:
        with transaction.atomic():
            with pytest.raises(DatabaseError), transaction.atomic(savepoint=False):
                Group.objects.bulk_create([Group(name="one"), Group(name="one")])
            with for_user(ada), published() as sent:
                tasks.succeed.delay()
        assert header.NAME in sent[0]
        assert "its owner is not told" in caplog.text

    def test_row_39_a_broker_that_is_away_leaves_no_run(self, ada: Any) -> None:
        with for_user(ada), app.connection_for_write("redis://127.0.0.1:1/0") as nowhere:
            with pytest.raises(OperationalError):
                tasks.succeed.apply_async(connection=nowhere, retry=False)
        assert waiting() == []

    def test_a_hook_that_raises_stops_no_task(self, ada: Any, settings: Any) -> None:
        settings.TASKBELL = settings.TASKBELL | {"OWNER": lambda request: 1 // 0}
        with published() as sent:
            respond(lambda request: tasks.succeed.delay(), ada)
        assert header.NAME not in sent[0]


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


def test_every_handler_swallows_what_celery_may_send() -> None:
    """Signals have lost and gained arguments between versions."""
    from taskbell.engines.celery import main_process, task

    message = SimpleNamespace(headers=None)
    request = SimpleNamespace(id="x", headers=None, message=message, request_dict={}, retries=None)
    main_process.received(request=request, sender=None)
    main_process.revoked(request=request, expired=False, terminated=True, signum=None)
    main_process.unknown(message=message, id="x", name="y", exc=None)
    task.failure(task_id="x", exception=ValueError())
    task.retry(request=request, reason=None)
    task.postrun(task_id="x")
    assert current_run() is None
