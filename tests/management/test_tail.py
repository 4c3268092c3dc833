"""`tail` as people run it: a process that follows, until Ctrl-C."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from taskbell import publish
from taskbell.models import Log, LogHead, Outbox
from taskbell.store.head import new_epoch
from taskbell.store.prune import prune
from tests.management.calls import number, say, taskbell
from tests.servers.process import Process
from tests.servers.project import Project
from tests.servers.sse import Event, Parser

DATABASES = pytest.mark.parametrize("database", ["sqlite", "postgres"])


class Tail:
    """One `taskbell tail` under way."""

    def __init__(self, project: Project, *options: str) -> None:
        self.process: Process = project.popen("taskbell", "tail", *options)

    @property
    def lines(self) -> list[str]:
        return self.process.output().splitlines()

    def shows(self, *wanted: str) -> None:
        """Wait for exactly these lines, each without its cursor."""
        self.process.wait_until(lambda: len(self.lines) >= len(wanted), what=f"showing {wanted}")
        assert [line.partition("  ")[2] for line in self.lines] == list(wanted)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


def news(payload: int | str, channel: str = "public:news") -> str:
    return f"{channel}  message  {payload}"


@pytest.mark.proof
@DATABASES
def test_it_follows_what_another_process_numbers(project: Callable[[str], Project], database: str) -> None:
    one = project(database)
    say("before")
    tail = Tail(one, "--from-start")
    tail.shows(news('"before"'))
    say(1)
    tail.shows(news('"before"'), news(1))
    publish("public:b", "message", 2)
    say(3)
    tail.shows(news('"before"'), news(1), news(2, "public:b"), news(3))
    assert tail.interrupt() == 0
    assert "Traceback" not in tail.process.output()


@pytest.mark.proof
def test_without_options_it_begins_now(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    say("before")
    tail = Tail(one)
    # It prints nothing to wait for: say things until the first is shown.
    said: list[int] = []

    def heard() -> bool:
        said.append(len(said))
        say(said[-1])
        return bool(tail.lines)

    tail.process.wait_until(heard, what="following")
    tail.process.wait_until(lambda: news(said[-1]) in tail.process.output(), what="up to date")
    shown = [line.partition("  ")[2] for line in tail.lines]
    assert shown == [news(number) for number in said[-len(shown) :]]
    assert tail.interrupt() == 0


@pytest.mark.proof
def test_a_line_begins_with_the_cursor_to_go_on_after(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    say(1, 2, 3)
    first = Tail(one, "--from-start")
    first.shows(news(1), news(2), news(3))
    cursor = first.lines[1].partition(" ")[0]
    second = Tail(one, "--after", cursor)
    second.shows(news(3))
    assert (first.interrupt(), second.interrupt()) == (0, 0)


@pytest.mark.proof
def test_only_some_channels(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    for channel in ("public:a", "public:b", "public:c", "public:a"):
        say(1, channel=channel)
    tail = Tail(one, "--from-start", "--channel", "public:a", "--channel", "public:c")
    tail.shows(news(1, "public:a"), news(1, "public:c"), news(1, "public:a"))
    assert tail.interrupt() == 0


@pytest.mark.proof
def test_control_rows_and_blanked_rows_are_not_shown(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    Outbox.objects.create(kind="event", channel="taskbell:control", type="forget", payload='{"person":"secret"}')
    say(1, "blanked", 3)
    Log.objects.filter(payload='"blanked"').update(channel=None, payload="")
    for options in ([], ["--raw"]):
        tail = Tail(one, "--from-start", *options)
        tail.process.wait_until(lambda tail=tail: tail.process.output().count("message") == 2, what="showing two")
        assert tail.interrupt() == 0
        assert "secret" not in tail.process.output()
        assert "taskbell:" not in tail.process.output()
        assert "blanked" not in tail.process.output()


@pytest.mark.proof
def test_raw_prints_the_bytes_of_the_wire(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    say({"msg": "한국\n"}, 2)
    tail = Tail(one, "--from-start", "--raw")
    tail.process.wait_until(lambda: tail.process.output().count("\n\n") == 2, what="two frames")
    rows = Log.objects.order_by("seq")
    name = LogHead.objects.get().log_id
    assert Parser().feed(tail.process.output().encode()) == [
        Event("message", row.payload, f"1.{name}.{row.seq}.{row.nonce}") for row in rows
    ]
    assert tail.interrupt() == 0


@pytest.mark.proof
@pytest.mark.parametrize("raw", [False, True])
def test_resets_are_told_and_it_goes_on(project: Callable[[str], Project], raw: bool) -> None:
    one = project("sqlite")
    say(1)
    tail = Tail(one, "--from-start", *(["--raw"] if raw else []))
    tail.process.wait_until(lambda: "1" in tail.process.output(), what="following")
    new_epoch("default")
    tail.process.wait_until(lambda: "reset" in tail.process.output(), what="told")
    say(2)
    if raw:
        tail.process.wait_until(lambda: "data: 2\n\n" in tail.process.output(), what="going on")
        kinds = [(event.type, event.data) for event in Parser().feed(tail.process.output().encode())]
        assert kinds == [("message", "1"), ("reset", '{"reason":"rewritten"}'), ("message", "2")]
    else:
        tail.shows(news(1), "reset: rewritten, so events may be missing here", news(2))
    assert tail.interrupt() == 0


@pytest.mark.proof
def test_a_place_that_was_pruned_is_told_and_the_start_is_what_is_kept(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    say(1, 2, 3, 4)
    first = Log.objects.get(seq=1)
    name = LogHead.objects.get().log_id
    Log.objects.filter(seq__lte=2).update(sequenced_at=timezone.now() - timedelta(days=2))
    prune("default")
    after = Tail(one, "--after", f"1.{name}.1.{first.nonce}")
    after.shows("reset: expired, so events may be missing here")
    start = Tail(one, "--from-start")
    start.shows(news(3), news(4))
    assert (after.interrupt(), start.interrupt()) == (0, 0)


@pytest.mark.proof
def test_before_anything_was_published(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    tail = Tail(one, "--from-start")
    tail.process.wait_until(lambda: LogHead.objects.exists(), what="following")  # noqa: PLW0108
    say(1)
    tail.shows(news(1))
    assert tail.interrupt() == 0


@pytest.mark.proof
def test_a_pipe_that_closes_is_no_error(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    say(*range(10))
    argv = [sys.executable, "-m", "django", "taskbell", "tail", "--from-start"]
    with subprocess.Popen(
        argv, env=one.env, cwd=one.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stdout.readline().endswith(news(0) + "\n")
        tail.stdout.close()
        say("one more")
        assert tail.wait(10) == 0
        assert tail.stderr.read() == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--after", "abc"], "is no cursor"),
        (["--after", ""], "is no cursor"),
        (["--after", "1.a.٣.b"], "is no cursor"),
        (["--channel", "news"], "is not a channel"),
        (["--channel", "taskbell:control"], "not shown"),
        (["--channel", "public:a", "--channel", "taskbell:doctor"], "not shown"),
        (["--after", "1.a.1.b", "--from-start"], "not allowed with"),
    ],
)
@pytest.mark.django_db
def test_a_mistake_is_a_sentence(options: list[str], told: str) -> None:
    number()
    with pytest.raises(CommandError, match=told):
        taskbell("tail", *options)
