import builtins
import io
from collections.abc import Callable

import pytest
from django.core.management import CommandError

from taskbell import publish
from taskbell.models import LogHead
from tests.management.calls import say, taskbell
from tests.servers.project import Project

pytestmark = pytest.mark.django_db(transaction=True)


def test_yes_gives_the_log_another_name_and_prints_it() -> None:
    say(1, 2)
    before = LogHead.objects.get()
    status, out = taskbell("new-epoch", "--yes")
    after = LogHead.objects.get()
    assert (status, out) == (0, f"{after.log_id}\n")
    assert after.log_id != before.log_id
    assert (after.seq, after.floor) == (before.seq, before.floor)


@pytest.mark.parametrize(("answer", "changed"), [("y", True), ("Yes ", True), ("", False), ("n", False), ("ja", False)])
def test_it_asks(monkeypatch: pytest.MonkeyPatch, answer: str, changed: bool) -> None:
    say(1)
    before = LogHead.objects.get().log_id
    monkeypatch.setattr(builtins, "input", lambda prompt: answer)
    status, out = taskbell("new-epoch")
    assert (LogHead.objects.get().log_id != before) is changed
    assert (status, "Nothing was changed" in out) == ((0, False) if changed else (1, True))


def test_with_nobody_to_ask_it_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    say(1)
    before = LogHead.objects.get().log_id
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(CommandError, match="--yes"):
        taskbell("new-epoch")
    assert LogHead.objects.get().log_id == before


@pytest.mark.proof
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_an_open_stream_is_told(project: Callable[[str], Project], database: str) -> None:
    one = project(database)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        publish("public:news", "message", 1)
        before = stream.until("message")[-1]
        renewed = one.run("taskbell", "new-epoch", "--yes")
        reset = stream.until("reset")[-1]
        assert reset.json == {"reason": "rewritten"}
        assert reset.id.split(".")[1] == renewed.stdout.strip()
        publish("public:news", "message", 2)
        assert stream.until("message")[-1].json == 2
    with gateway.stream("/events/public:news/", last_event_id=before.id) as stream:
        assert stream.until("reset")[-1].json == {"reason": "rewritten"}
