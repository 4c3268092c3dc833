"""Break one hop at a time: `doctor` names that one, and says what to do."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test import override_settings

from taskbell import publish
from taskbell.management import hops
from taskbell.models import Log, LogHead, Outbox
from taskbell.wakeups import bell
from tests.management.calls import number, say, taskbell
from tests.servers.process import free_port
from tests.servers.project import Project, environment

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
    monkeypatch.setattr(hops, "POLLS_TO_WAIT", 0.2)


@pytest.mark.proof
@DATABASES
def test_without_a_gateway_all_is_well_but_the_gateway(project: Callable[[str], Project], database: str) -> None:
    project(database)
    status, out = taskbell("doctor")
    assert status == 0
    hops = {hop: line.split()[0] for hop, line in told(out).items()}
    journal = {"journal": "ok"} if database == "sqlite" else {}
    fine = {"settings": "ok", "database": "ok", "outbox": "ok", "wakeup": "ok", "server": "ok"}
    assert hops == fine | journal | {"tick": "look"}
    assert "-> Start one: manage.py taskbell serve" in out
    assert not Outbox.objects.exists()


@pytest.mark.proof
@DATABASES
def test_a_running_gateway_is_seen(project: Callable[[str], Project], database: str) -> None:
    one = project(database)
    gateway = one.serve()
    ran = one.run("taskbell", "doctor")
    assert ran.returncode == 0
    assert "ok    tick      a running gateway numbered a test event" in ran.stdout
    # Nobody can read it, and nobody is shown it.
    with gateway.stream(f"/events/{hops.CANARY_CHANNEL}/") as stream:
        assert stream.status == 404
    assert Log.objects.get().channel == hops.CANARY_CHANNEL


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
    monkeypatch.setattr(hops, "TICKING_SECONDS", 0.5)
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
    monkeypatch.setattr(hops, "find_spec", lambda name: None)
    status, out = taskbell("doctor")
    assert (status, failed(out)) == (0, [])
    assert "taskbell[serve]" in out
