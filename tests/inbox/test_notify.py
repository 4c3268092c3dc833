"""`notify`: checked before any SQL, and then one INSERT in the caller's transaction."""

import json
import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from taskbell import anotify, notify, publish
from taskbell.exceptions import InvalidChannel, InvalidEvent, InvalidNotification
from taskbell.ground.events import PAYLOAD_BYTES
from taskbell.inbox.message import BODY_LENGTH, URL_LENGTH
from taskbell.models import Outbox
from taskbell.runs.here import Here, enter, leave
from taskbell.store.outbox import BATCH_ROWS
from tests.inbox.telling import heard
from tests.runs.telling import identity

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

User = get_user_model()


def said() -> list[dict[str, Any]]:
    return [json.loads(row.payload) for row in Outbox.objects.order_by("id")]


class TestWrites:
    def test_one_insert(self, ada: Any) -> None:
        for to in (ada, SimpleLazyObject(lambda: ada), [ada]):
            with CaptureQueriesContext(connection) as captured:
                notify(to, "Your report is ready")
            [query] = captured.captured_queries
            assert query["sql"].startswith('INSERT INTO "taskbell_outbox"')

    def test_many_people_in_batches(self) -> None:
        people = User.objects.bulk_create(User(username=str(n)) for n in range(BATCH_ROWS + 1))
        with CaptureQueriesContext(connection) as captured:
            notify(people, "Maintenance at ten")
        assert len(captured.captured_queries) == 2
        assert len({one["id"] for one in said()}) == len(people)
        assert set(Outbox.objects.values_list("user_key", flat=True)) == {str(one.pk) for one in people}

    def test_each_person_once_and_a_query_is_fine(self, ada: Any, bob: Any) -> None:
        notify([ada, bob, ada], "Once")
        assert len(said()) == 2
        notify(User.objects.filter(username="ada"), "A query")
        notify([], "Nobody")
        assert len(said()) == 3

    def test_everything_that_was_said(self, ada: Any) -> None:
        run = uuid.uuid4()
        notify(
            ada, "Ready", body="Seven pages", url="/reports/7/", level="success", kind="report.ready", key="report:7",
            run=run, via=("page", "email"),
        )  # fmt: skip
        [one] = said()
        assert isinstance(one.pop("at"), float)
        assert uuid.UUID(one.pop("id"))
        assert one == {
            "title": "Ready", "body": "Seven pages", "url": "/reports/7/", "level": "success", "kind": "report.ready",
            "key": "report:7", "run": str(run), "via": ["page", "email"],
        }  # fmt: skip

    def test_the_longest_fits_an_event(self, ada: Any) -> None:
        astral = "\U0001f514"
        notify(ada, astral * 200, body=astral * BODY_LENGTH, url="/" + astral * (URL_LENGTH - 1), key="k" * 128)
        [(type, data)] = heard()
        assert (type, data["title"], data["body"]) == ("notification", astral * 200, astral * BODY_LENGTH)
        assert len(json.dumps(data)) < PAYLOAD_BYTES

    def test_nothing_of_what_is_rolled_back(self, ada: Any) -> None:
        with transaction.atomic():
            notify(ada, "Never")
            transaction.set_rollback(True)
        assert said() == []

    def test_from_async_code(self, ada: Any) -> None:
        async_to_sync(anotify)(ada, "Ready", level="success")
        assert [(one["title"], one["level"]) for one in said()] == [("Ready", "success")]


class TestInATask:
    """As `publish`, it is an INSERT of the task's own transaction, whatever has become of that."""

    @pytest.mark.parametrize("tell", [notify, lambda to, title: publish(to, "message", title)])
    def test_in_a_transaction_that_is_broken_it_raises_as_any_statement_does(self, ada: Any, tell: Any) -> None:
        with transaction.atomic():
            transaction.set_rollback(True)
            with pytest.raises(TransactionManagementError):
                tell(ada, "Never")
        assert said() == []

    def test_it_is_about_the_run_of_its_person(self, ada: Any, bob: Any) -> None:
        here = Here(identity=identity(ada), attempt=1, execution="1")
        enter(here)
        try:
            notify([ada, bob], "Ready")
            notify(ada, "Another", run=uuid.UUID(int=7))
        finally:
            leave()
        notify(ada, "Outside")
        assert [one["run"] for one in said()] == [here.identity.run, None, str(uuid.UUID(int=7)), None]

    def test_of_a_late_step_of_many_about_the_whole(self, ada: Any) -> None:
        whole = str(uuid.uuid4())
        enter(Here(identity=identity(ada, parent=whole, step=5_000), attempt=1, execution="1"))
        try:
            notify(ada, "Ready")
        finally:
            leave()
        assert said()[0]["run"] == whole


BAD = {
    "title": ["", "   ", "\n", "x" * 201, "a\0b", "\ud800", None, 5, b"bytes", ["x"]],
    "body": ["x" * (BODY_LENGTH + 1), "a\0b", "\udfff", None, 5, b"bytes"],
    "url": [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)",
        "data:text/html,x", "vbscript:x", "file:///etc/passwd", "ftp://example.com/", "mailto:a@example.com",
        "//example.com/", "\\\\example.com", "/\\example.com", "/a\\b", "\\/example.com", "http:\\\\example.com",
        "http:example.com", "http:/example.com", "http://", "https://", "https:///path", "http://[", "http://[::1",
        "http://host:port/", "http://host:99999/", "relative/", "?query", "#fragment", "example.com",
        "/a b", "/a\tb", "/a\nb", "/a\rb", "/\0", "/\x7f", "/\x85", "/\u2028", "/\ud800",
        "\t//example.com", "/\t/example.com", " /a", "/" + "x" * URL_LENGTH, None, 5, b"/x",
    ],
    "level": ["", "debug", "INFO", "info ", None, 5, [], "critical"],
    "kind": ["Report", "a b", "x" * 65, "a\n", "a\0", "é", None, 5, "a:b"],
    "key": ["", " ", "a b", "x" * 129, "a\n", "a\0", "é", 5, b"k", "\ud800"],
    "run": ["", "x", 5, b"", "0" * 31, object()],
    "via": ["page", 5, ("Page",), ("",), (5,), (None,), ("a b",), ("x" * 33,), [f"w{n}" for n in range(9)], b"push"],
}  # fmt: skip


class TestRefuses:
    @pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
    def test_a_bad_value_before_any_sql(self, ada: Any, name: str, value: Any) -> None:
        values = {"title": "Ready", name: value}
        with CaptureQueriesContext(connection) as captured, pytest.raises(InvalidNotification) as refused:
            notify(ada, **values)
        assert len(captured) == 0
        assert 20 < len(str(refused.value)) < 300
        assert "\n" not in str(refused.value)
        assert isinstance(refused.value, InvalidEvent | ValueError)

    @pytest.mark.parametrize("to", ["ada", "user:1", "public:news", None, 5, b"ada", AnonymousUser(), object()])
    def test_whoever_is_no_person(self, to: Any) -> None:
        with pytest.raises(InvalidEvent):
            notify(to, "Ready")
        with pytest.raises(InvalidEvent):
            notify([to], "Ready")

    def test_a_person_who_is_not_saved_and_then_nobody_is_told(self, ada: Any) -> None:
        with pytest.raises(InvalidChannel):
            notify([ada, User(username="new")], "Ready")
        assert said() == []


@pytest.mark.parametrize(
    "url",
    [
        "", "/", "/reports/7/?a=b&c=%20#top", "/한국어/", "http://example.com", "https://example.com:8443/a?b#c",
        "HTTPS://example.com/", "https://[::1]/", "/a//b", "/javascript:alert(1)", "https://한국.example/",
    ],
)  # fmt: skip
def test_places_to_lead_to(ada: Any, url: str) -> None:
    notify(ada, "Ready", url=url)
    [(_, data)] = heard()
    assert data["url"] == url


class TestLanguage:
    """Of a lazy text, each person reads their own language, whichever is active in the worker."""

    title = gettext_lazy("Yes")

    def spoken(self) -> list[str]:
        return [one["title"] for one in said()]

    def test_is_the_one_that_is_active_where_nothing_is_set(self, ada: Any) -> None:
        with translation.override("ko"):
            notify(ada, self.title)
        assert self.spoken() == ["예"]

    def test_is_asked_of_each_person(self, ada: Any, bob: Any) -> None:
        speaks = {"ada": "ko", "bob": "de"}
        with override_settings(TASKBELL={"LANGUAGE": lambda user: speaks.get(user.username)}):
            notify([ada, bob, User.objects.create(username="eve")], self.title, body=gettext_lazy("No"))
        assert self.spoken() == ["예", "Ja", "Yes"]
        assert [one["body"] for one in said()] == ["아니오", "Nein", "No"]

    def test_a_plain_text_asks_nobody(self, ada: Any) -> None:
        with override_settings(TASKBELL={"LANGUAGE": lambda user: 1 / 0}):
            notify(ada, "Yes")
        assert self.spoken() == ["Yes"]

    @pytest.mark.parametrize("answer", ["xx", "", None, 5, "../../etc", "ko\n", "x" * 10_000], ids=ascii)
    def test_one_that_nobody_speaks_is_the_active_one(self, ada: Any, answer: Any) -> None:
        with override_settings(TASKBELL={"LANGUAGE": lambda user: answer}):
            notify(ada, self.title)
        assert self.spoken() == ["Yes"]

    def test_a_hook_that_raises_breaks_nothing_and_is_told(self, ada: Any, caplog: pytest.LogCaptureFixture) -> None:
        with override_settings(TASKBELL={"LANGUAGE": lambda user: 1 / 0}):
            notify([ada], self.title)
        assert self.spoken() == ["Yes"]
        assert "LANGUAGE" in caplog.text

    def test_a_translation_that_is_too_long_is_refused(self, ada: Any) -> None:
        with pytest.raises(InvalidNotification, match="200"):
            notify(ada, gettext_lazy("x" * 201))
