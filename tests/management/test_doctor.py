"""Break one hop at a time: `doctor` names that one, and says what to do."""

import re
import sqlite3
import threading
import time
import uuid
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import override_settings

from taskbell import publish
from taskbell.management.hops import canary, examine, here
from taskbell.management.verbs.doctor import address_of_streams
from taskbell.models import Log, LogHead, Outbox, Worker
from taskbell.wakeups import bell
from tests.management.calls import number, say, taskbell
from tests.servers.process import free_port
from tests.servers.project import Project, environment
from tests.servers.valkey import Valkey

DATABASES = pytest.mark.parametrize("database", ["sqlite", "postgres"])


def told(out: str) -> dict[str, str]:
    """Return the line of each hop."""
    return {line.split()[1]: line for line in out.splitlines() if not line.lstrip().startswith("->")}


def failed(out: str) -> list[str]:
    return [hop for hop, line in told(out).items() if line.startswith("FAIL")]


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine allows is no business of these tests, and none waits for a gateway that is not there."""
    monkeypatch.setattr("taskbell.gateway.files.BESIDE_STREAMS", -20_000)
    monkeypatch.setattr(canary, "POLLS_TO_WAIT", 0.2)
    # Somebody may work on this machine, with a gateway where gateways usually are.
    monkeypatch.setattr(examine, "USUAL_ORIGIN", f"http://127.0.0.1:{free_port()}")


@pytest.mark.proof
@DATABASES
def test_without_a_gateway_all_is_well_but_the_gateway(project: Callable[[str], Project], database: str) -> None:
    project(database)
    status, out = taskbell("doctor")
    assert status == 0
    found = {hop: line.split()[0] for hop, line in told(out).items()}
    journal = {"journal": "ok"} if database == "sqlite" else {"clock": "ok"}
    fine = {"settings": "ok", "database": "ok", "outbox": "ok", "wakeup": "ok", "server": "ok"}
    assert found == fine | journal | {"door": "look", "tick": "look"}
    assert "-> Start one: manage.py taskbell serve" in out
    assert not Outbox.objects.exists()


@pytest.mark.proof
@DATABASES
def test_a_running_gateway_is_seen(project: Callable[[str], Project], database: str) -> None:
    one = project(database)
    gateway = one.serve()
    ran = one.run("taskbell", "doctor", "--url", f"http://127.0.0.1:{free_port()}/events/")
    assert failed(ran.stdout) == ["door"]
    assert re.search(r"^ok    tick      a running gateway numbered a test event \(\d+ ms\)$", ran.stdout, re.MULTILINE)
    # Nobody can read it, and nobody is shown it.
    with gateway.stream(f"/events/{canary.CHANNEL}/") as stream:
        assert stream.status == 404
    assert Log.objects.get().channel == canary.CHANNEL


@pytest.mark.proof
def test_a_frozen_gateway_is_not_a_running_one(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    gateway = one.serve()
    gateway.pause()
    status, out = taskbell("doctor")
    gateway.resume()
    assert (status, told(out)["tick"].split()[0]) == (0, "look")


@pytest.mark.proof
def test_tables_that_are_missing(project: Callable[[str], Project], tmp_path: Path) -> None:
    one = project("sqlite")
    one.env |= environment(str(tmp_path / "empty.sqlite3"))
    ran = one.run("taskbell", "doctor")
    assert ran.returncode == 1
    assert failed(ran.stdout) == ["database"]
    assert "-> Run: manage.py migrate" in ran.stdout


@pytest.mark.proof
@pytest.mark.parametrize("address", ["/nowhere/db.sqlite3", "postgresql://nobody@127.0.0.1:1/nothing"])
def test_a_database_that_is_away(project: Callable[[str], Project], address: str) -> None:
    one = project("sqlite")
    one.env |= environment(address)
    ran = one.run("taskbell", "doctor")
    assert ran.returncode == 1
    assert failed(ran.stdout) == ["database"]
    assert "Traceback" not in ran.stderr


@pytest.mark.proof
def test_mistakes_in_the_settings_are_told_among_the_rest(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    one.configure(PNG=5, PING=60)
    ran = one.run("taskbell", "doctor")
    assert ran.returncode == 1
    assert "FAIL  settings  TASKBELL has no key 'PNG'. (taskbell.E004)" in ran.stdout
    assert "-> Did you mean 'PING'?" in ran.stdout
    assert "look  settings  TASKBELL['PING'] is 60" in ran.stdout
    assert "ok    database" in ran.stdout
    assert "tick" in told(ran.stdout)


@pytest.mark.proof
def test_sqlite_without_its_write_ahead_log(project: Callable[[str], Project]) -> None:
    project("sqlite")
    connection.settings_dict["OPTIONS"]["init_command"] = ""
    connection.close()
    with sqlite3.connect(connection.settings_dict["NAME"]) as other:
        other.execute("pragma journal_mode=delete")
    other.close()
    status, out = taskbell("doctor")
    assert status == 0
    assert told(out)["journal"].startswith("look  journal   delete:")
    assert "PRAGMA journal_mode=WAL" in out


@pytest.mark.proof
@override_settings(TASKBELL={"OUTBOX_LIMIT": 1})
def test_an_outbox_that_is_too_long(project: Callable[[str], Project]) -> None:
    project("sqlite")
    for payload in range(2):
        publish("public:news", "message", payload)
    status, out = taskbell("doctor")
    assert (status, failed(out)) == (1, ["outbox"])
    assert "2 rows wait" in out


@pytest.mark.proof
def test_rows_that_were_set_aside(project: Callable[[str], Project]) -> None:
    project("sqlite")
    Outbox.objects.create(kind="mystery", type="x", payload="{}")
    number()
    status, out = taskbell("doctor")
    assert (status, failed(out)) == (0, [])
    assert "look  outbox    0 rows wait, 1 are set aside" in out
    assert "mystery" in out


@pytest.mark.proof
def test_a_head_that_somebody_holds(project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "TICKING_SECONDS", 0.5)
    project("postgres")
    say(1)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            LogHead.objects.select_for_update().get()
            held.set()
            done.wait()
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        held.wait()
        status, out = taskbell("doctor")
    finally:
        done.set()
        holder.join()
    assert (status, failed(out)) == (1, ["tick"])
    assert "Somebody holds the lock of the head" in out
    assert not Outbox.objects.exists()


@pytest.mark.proof
@DATABASES
def test_a_wakeup_that_hears_nothing(project: Callable[[str], Project], database: str) -> None:
    project(database)
    with override_settings(TASKBELL={"WAKEUP": f"redis://127.0.0.1:{free_port()}/0"}):
        status, out = taskbell("doctor")
        bell.forget()
    assert (status, failed(out)) == (1, ["wakeup"])
    assert "redis: Redis: " in out
    assert "events take up to 1 s" in out


@pytest.mark.proof
def test_polling_is_a_choice(project: Callable[[str], Project]) -> None:
    project("sqlite")
    with override_settings(TASKBELL={"WAKEUP": "poll", "POLL": 2}):
        status, out = taskbell("doctor")
    assert (status, failed(out)) == (0, [])
    assert "ok    wakeup    poll: gateways look every 2 s" in out


@pytest.mark.proof
def test_a_backlog_before_the_canary(project: Callable[[str], Project]) -> None:
    project("sqlite")
    Outbox.objects.bulk_create(
        Outbox(kind="event", channel="public:news", type="message", payload=str(index)) for index in range(2_500)
    )
    status, out = taskbell("doctor")
    assert (status, failed(out)) == (0, [])
    assert Log.objects.count() == 2_501


@pytest.mark.proof
def test_without_a_server_installed_it_says_so(
    project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project("sqlite")
    monkeypatch.setattr(here, "find_spec", lambda name: None)
    status, out = taskbell("doctor")
    assert (status, failed(out)) == (0, [])
    assert "taskbell[serve]" in out


@pytest.mark.proof
def test_workers_that_live_and_that_do_not(project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch) -> None:
    project("sqlite")
    monkeypatch.setattr(here, "LATE_BEAT_SECONDS", 0.5)
    dead = Worker.objects.create(id=uuid.uuid4(), name="celery@gone", beat=7)
    with override_settings(TASKBELL={"LEASE": 1}):
        assert told(taskbell("doctor")[1])["workers"].startswith("look")
        alive = Worker.objects.create(id=uuid.uuid4(), name="celery@here")
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(0.05):
                Worker.objects.filter(id=alive.id).update(beat=F("beat") + 1)
            connection.close()

        beating = threading.Thread(target=beat)
        beating.start()
        try:
            assert told(taskbell("doctor")[1])["workers"] == "ok    workers   one shows that it lives"
        finally:
            ended.set()
            beating.join()
    assert Worker.objects.get(id=dead.id).beat == 7


@pytest.mark.proof
def test_a_broker_that_is_there_and_one_that_is_not(project: Callable[[str], Project], valkey: Valkey) -> None:
    one = project("sqlite")
    one.configure(TASKS={"*": ""})
    for broker, said in {
        valkey.url: "ok    queue     the broker can be reached",
        f"redis://127.0.0.1:{free_port()}/0": "look  queue     celery cannot be reached: ",
    }.items():
        one.env["CELERY_BROKER_URL"] = broker
        out = one.run("taskbell", "doctor").stdout
        assert told(out)["queue"].startswith(said), out


@pytest.mark.proof
def test_a_clock_that_is_wrong(project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch) -> None:
    project("postgres")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    status, out = taskbell("doctor")
    assert status == 0
    assert told(out)["clock"] == "look  clock     3600 s from the database's"


@pytest.mark.parametrize("text", ["mysite.example/events/", "ftp://a/", "https://", "http://a:port/", "http://[::1/"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="as a browser has it"):
        address_of_streams(text)
