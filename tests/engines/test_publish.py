"""The publishing side: whose a task is, what that costs, and that nothing of ours stops it. With a real broker."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from kombu.exceptions import OperationalError

from taskbell import for_user, get_run
from taskbell.exceptions import InvalidChannel
from taskbell.middleware import OwnerMiddleware
from taskbell.runs import header
from taskbell.runs.here import current_run
from taskbell.runs.writer import writer
from tests.engines import tasks
from tests.engines.project import app
from tests.engines.publishing import NotAsked, committing, owners, published, respond
from tests.runs.telling import waiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]

User = get_user_model()


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
