"""What travels with a task: its run and its owner in a signed header, and which tasks carry one. With a real broker."""

import logging
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.test import override_settings
from django.utils.functional import SimpleLazyObject, lazystr

from taskbell import for_user
from taskbell.runs import header
from tests.engines import tasks
from tests.engines.project import app
from tests.engines.publishing import NotAsked, published, respond
from tests.runs.telling import waiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]


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
