"""`make demo` in real processes: the original request from the button to the stream, and every way to break it."""

import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.demo.running import ENDED, Demo, Person, gone, listens
from tests.servers.project import ROOT
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.proof

# The demo's LEASE, and the five seconds that we promise on top of it.
LOST_SECONDS = 5 + 5


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that every test leaves as it was: running."""
    demo = Demo(tmp_path_factory.mktemp("demo")).ready()
    yield demo
    demo.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """`start()` is one more demo with a folder of its own, gone after the test."""
    started: list[Demo] = []

    def start(**options: Any) -> Demo:
        started.append(Demo(tmp_path, **options))
        return started[-1]

    yield start
    for demo in started:
        demo.stop()


def ending_of(task_id: str) -> Any:
    """Return what tells the frame that ends a run."""
    return lambda event: event.type == "run" and event.json["task_id"] == task_id and event.json["state"] in ENDED


def photo(size: tuple[int, int] = (1600, 1200)) -> bytes:
    file = io.BytesIO()
    Image.effect_mandelbrot(size, (-2, -1.2, 1, 1.2), 60).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def test_a_plain_task_reaches_its_person(demo: Demo) -> None:
    person = Person(demo)
    with person.stream("/events/demo/") as stream:
        stream.until("ping")
        asked = time.monotonic()
        task_id = person.start(seconds=2)
        assert time.monotonic() - asked < 1.5, "the answer waited for the task"
        assert person.state(task_id) in ("queued", "running")
        told = stream.until(ending_of(task_id))
    states = [event.json["state"] for event in told if event.type == "run" and event.json["task_id"] == task_id]
    assert states == ["queued", "running", "succeeded"]
    assert told[-1].json["label"] == "Task"
    with sqlite3.connect(f"file:{demo.state / 'db.sqlite3'}?mode=ro", uri=True) as database:
        query = "select status, task_name, result from django_celery_results_taskresult where task_id = ?"
        assert database.execute(query, [task_id]).fetchall() == [("SUCCESS", "demo.tasks.work", "2.0")]
    database.close()


def test_an_ending_while_nobody_listened_comes_back(demo: Demo) -> None:
    person = Person(demo)
    with person.stream() as stream:
        cursor = stream.until("ping")[-1].id
    task_id = person.start(seconds=0)
    person.wait_until(task_id, "succeeded")
    for options in ({"last_event_id": cursor}, {"path": f"/events/?after={cursor}"}):
        with person.stream(**options) as stream:
            stream.until(ending_of(task_id))


def test_the_guest_is_told_nothing(demo: Demo) -> None:
    person, guest = Person(demo), Person(demo, "guest")
    with guest.stream() as stream:
        stream.until("ping")
        task_id = person.start(seconds=0)
        person.wait_until(task_id, "succeeded")
        # What the guest does comes after, so nothing can still be on its way.
        own = guest.start(seconds=0)
        seen = stream.until(ending_of(own))
    assert {event.json["task_id"] for event in seen if event.type == "run"} == {own}
    assert guest.get(f"/tasks/{task_id}/")[0] == 404
    with guest.stream("/events/demo/") as refused:
        assert refused.status == 404


def test_photos_are_steps_that_become_pictures(demo: Demo) -> None:
    person, guest = Person(demo), Person(demo, "guest")
    with person.stream() as stream:
        stream.until("ping")
        status, answer = person.upload(*[photo()] * 3)
        assert (status, answer["photos"]) == (201, 3)
        told = [event.json for event in stream.until(ending_of(answer["task_id"])) if event.type == "run"]
    whole = [run for run in told if run["id"] == answer["task_id"]]
    assert whole[-1]["state"] == "succeeded"
    assert [run["done"] for run in whole][-1] == whole[-1]["steps"]["succeeded"] == 3
    for step in range(3):
        mine = [run for run in told if run["parent"] == answer["task_id"] and run["step"] == step]
        done = [run["done"] for run in mine if run["done"] is not None]
        assert done == sorted(done)
        assert len(set(done)) > 2, "the bar did not move"
        pictures = mine[-1]["result"]["pictures"]
        assert len(pictures) == mine[-1]["total"] == 6
        for made in pictures:
            status, data = person.get(made["url"])
            assert status == 200
            assert Image.open(io.BytesIO(data)).size == (960, 720)
            assert guest.get(made["url"])[0] == 404


def test_a_photo_that_was_cut_short_fails_with_a_reason_and_the_others_become_pictures(demo: Demo) -> None:
    person, data = Person(demo), photo()
    _, answer = person.upload(data[: len(data) // 2], data)
    run = person.wait_until(answer["task_id"], "failed")
    assert run["error"] == {"message": "This picture is damaged or cut short.", "reference": None}
    assert [step["state"] for step in run["steps"]["list"]] == ["failed", "succeeded"]


def test_a_failure_gives_its_reason_in_the_language_of_its_person(demo: Demo) -> None:
    person = Person(demo)
    for language, reason in (("en", "Row 17 has no date."), ("ko", "17행에 날짜가 없습니다.")):
        assert person.get(f"/?lang={language}")[0] == 200
        run = person.wait_until(person.start("/tasks/fail/"), "failed")
        assert run["error"] == {"message": reason, "reference": None}
        assert 10 < run["done"] < run["total"] == 40, "the bar does not stay where it stood"


def test_a_crash_gives_a_reference_and_no_secret(demo: Demo) -> None:
    person = Person(demo)
    run = person.wait_until(person.start("/tasks/crash/"), "failed")
    assert run["error"]["message"] is None
    assert run["error"]["reference"] in (demo.state / "worker.log").read_text()
    assert "internal" not in str(run)


def test_what_runs_and_what_waits_can_be_cancelled(demo: Demo) -> None:
    person, guest = Person(demo), Person(demo, "guest")
    # One more than the worker has children.
    tasks = [person.start(seconds=60) for _ in range(4)]
    person.wait_until(tasks[0], "running")
    for task_id in tasks:
        assert guest.post(f"/taskbell/runs/{task_id}/cancel/")[0] == 404
        assert person.post(f"/taskbell/runs/{task_id}/cancel/")[0] == 202
    for task_id in tasks:
        person.wait_until(task_id, "cancelled")
    person.wait_until(person.start(seconds=0), "succeeded")


def test_a_report_waits_in_the_inbox_of_whoever_closed_the_page(demo: Demo) -> None:
    person, guest = Person(demo), Person(demo, "guest")
    with person.stream() as stream:
        cursor = stream.until("ping")[-1].id
    before = person.get("/taskbell/notifications/")[1]["unread"]
    run = person.wait_until(person.start("/tasks/report/"), "succeeded")
    inbox = person.get("/taskbell/notifications/")[1]
    assert inbox["unread"] == before + 1
    newest = inbox["notifications"][0]
    assert (newest["title"], newest["run"], newest["read"]) == ("Your report is ready", run["id"], False)
    assert guest.get("/taskbell/notifications/")[1]["notifications"] == []
    with person.stream(last_event_id=cursor) as stream:
        assert stream.until("notification")[-1].json["id"] == newest["id"]


def test_a_retry_is_one_run_with_three_attempts(demo: Demo) -> None:
    person = Person(demo)
    with person.stream() as stream:
        stream.until("ping")
        task_id = person.start("/tasks/retry/")
        told = [event.json for event in stream.until(ending_of(task_id), timeout=30) if event.type == "run"]
    seen = [(run["state"], run["attempt"]) for run in told if run["task_id"] == task_id]
    assert [state for state, _ in seen] == [
        "queued", "running", "retrying", "running", "retrying", "running", "succeeded",
    ]  # fmt: skip
    assert seen[-1] == ("succeeded", 3)
    waiting = [run for run in told if run["state"] == "retrying"]
    assert [run["error"]["message"] for run in waiting] == ["Nobody opened the door."] * 2
    assert all(run["next_attempt_at"] > run["started_at"] for run in waiting)


def test_a_killed_worker_is_told_and_comes_back(demo: Demo) -> None:
    person = Person(demo)
    task_id = person.start(seconds=60)
    person.wait_until(task_id, "running")
    with person.stream() as stream:
        assert person.post("/worker/kill/")[0] == 202
        killed = time.monotonic()
        told = stream.until(ending_of(task_id), timeout=30)
    assert told[-1].json["state"] == "lost"
    assert time.monotonic() - killed < LOST_SECONDS
    person.wait_until(person.start(seconds=0), "succeeded")


def test_a_task_that_ends_while_the_server_is_away_is_told(demo: Demo) -> None:
    person = Person(demo)
    before, task_id = demo.restarts(), person.start(seconds=2)
    with person.stream() as stream:
        assert person.post("/server/stop/")[0] == 202
        assert stream.rest()[-1].type == "bye"
        cursor = stream.last_event_id
    demo.restarted(before)
    with person.stream(last_event_id=cursor) as stream:
        states = [event.json["state"] for event in stream.until(ending_of(task_id)) if event.type == "run"]
    assert states[-1] == "succeeded"


def test_a_server_that_dies_is_started_again(demo: Demo) -> None:
    before = demo.restarts()
    server = next(process for process in demo.family() if "uvicorn" in process.cmdline())
    server.kill()
    demo.restarted(before)
    person = Person(demo)
    person.wait_until(person.start(seconds=0), "succeeded")


def test_two_demos_do_not_meet(demo: Demo, start: Callable[..., Demo]) -> None:
    other = start().ready()
    here, there = Person(demo), Person(other)
    task_id = here.start(seconds=0)
    here.wait_until(task_id, "succeeded")
    assert there.get(f"/tasks/{task_id}/")[0] == 404
    assert there.get("/taskbell/runs/")[1]["runs"] == []
    # Cookies know no ports: in one browser both must stay signed in.
    names = [{cookie.name for cookie in one.jar} for one in (here, there)]
    assert names[0] & names[1] == {"csrftoken"}
    other.stop()
    here.wait_until(here.start(seconds=0), "succeeded")


def test_a_second_demo_on_one_port_says_so_in_a_sentence(demo: Demo, tmp_path: Path) -> None:
    for folder in (tmp_path, demo.folder):
        second = launch(PORT=str(demo.port), DEMO_FOLDER=str(folder))
        assert second.returncode == 1
        assert second.stderr == f"Port {demo.port} is taken. Choose another: make demo PORT={demo.port + 1}\n"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "8000.0", "²"])
def test_a_port_that_is_none(port: str, tmp_path: Path) -> None:
    refused = launch(PORT=port, DEMO_FOLDER=str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr == f"PORT is a number from 1 to 65535, not {port!r}.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_even_in_the_middle_of_a_task(
    number: signal.Signals, start: Callable[..., Demo]
) -> None:
    demo = start().ready()
    person = Person(demo)
    person.wait_until(person.start(seconds=60), "running")
    with person.stream():
        family = demo.family()
        assert len(family) >= 7  # launcher, Valkey, server, worker and three children
        demo.process.send_signal(number)
        assert demo.process.wait(60) == 0
    gone(family)
    assert not listens(demo.port)
    assert "Traceback" not in demo.process.output()


def test_a_signal_while_it_starts_ends_everything(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.process.wait_until(lambda: len(demo.family()) > 2, what="starting", timeout=30)
    family = demo.family()
    demo.process.send_signal(signal.SIGINT)
    demo.process.wait(60)
    gone(family)
    assert "Traceback" not in demo.process.output()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_launcher_that_is_killed_leaves_nothing(start: Callable[..., Demo]) -> None:
    demo = start().ready()
    person = Person(demo)
    person.wait_until(person.start(seconds=1), "running")
    family = demo.family()
    demo.process.destroy()
    gone(family)


def test_it_remembers_what_it_was_told_before(start: Callable[..., Demo]) -> None:
    first = start().ready()
    person = Person(first)
    task_id = person.start(seconds=0)
    person.wait_until(task_id, "succeeded")
    push_key = re.compile(r'data-push-key="[\w-]{87}"')
    [key] = push_key.findall(person.page)
    assert {path.stat().st_mode & 0o077 for path in first.state.glob("*_key")} == {0}
    first.stop()
    second = start(port=first.port).ready()
    assert person.state(task_id) == "succeeded", "signed out, or forgotten"
    assert push_key.findall(Person(second).page) == [key], "browsers would have to subscribe anew"


def test_a_redis_of_ones_own_is_used(start: Callable[..., Demo], valkey: Valkey) -> None:
    demo = start(REDIS_URL=valkey.url).ready()
    assert not any("valkey" in process.name() for process in demo.family())
    person = Person(demo)
    person.wait_until(person.start(seconds=0), "succeeded")


def test_what_cannot_start_ends_with_its_reason(start: Callable[..., Demo], tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "httptools"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('half installed')")
    demo = start(PYTHONPATH=str(broken.parent))
    assert demo.process.wait(60) == 1
    assert "The server ends as soon as it is started." in demo.process.output()
    assert "half installed" in demo.process.output()


def launch(**env: str) -> "subprocess.CompletedProcess[str]":
    """Run the launcher to its end."""
    argv = [sys.executable, "-m", "demo"]
    return subprocess.run(argv, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False)
