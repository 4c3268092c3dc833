"""A healthy day in the log is a start and a stop. What is told is told of faults, and of nobody."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.real import QUICK, is_, say
from tests.servers.project import Gateway, Project

pytestmark = pytest.mark.proof

START, STOP = "The gateway has started.", "The gateway has stopped."
SECRET = "nobody:may-know"


@pytest.fixture
def logged(project: Callable[[str], Project], tmp_path: Path) -> Callable[[str], tuple[Project, Path]]:
    def make(database: str) -> tuple[Project, Path]:
        one = project(database)
        file = tmp_path / "log.json"
        one.env |= {"DJANGO_SETTINGS_MODULE": "tests.management.logged", "LOG_FILE": str(file)}
        one.configure(**QUICK)
        return one, file

    return make


def records(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def a_busy_day(one: Project, gateway: Gateway) -> None:
    """Everything that happens to a healthy gateway, visitors with wrong addresses among it."""
    cookie = one.sign_in(one.person("yamkant"))
    with gateway.stream(cookie=cookie) as own, gateway.stream("/events/public:news/") as news:
        own.until("ping")
        say("for all")
        say("for one", to=one.person("yamkant"))
        news.until(is_("for all"))
        own.until(is_("for one"))
        with gateway.stream("/events/public:news/", last_event_id=news.last_event_id) as again:
            again.until("ping")
            again.abort()
        with gateway.stream("/events/public:news/", last_event_id="1.no.such.cursor") as lost:
            lost.until("reset")
        for path, headers in {
            "/events/": {},
            f"/events/{SECRET}/": {},
            "/events/%0aINFO%20forged/": {},
            "/events/public:news/?channel=a:b": {},
            "/events/public:news/?after=%0aforged": {"X-Forwarded-For": "203.0.113.9\\nforged"},
            "/readyz": {"Origin": "https://evil.example"},
        }.items():
            gateway.stream(path, headers=headers).close()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as scanner:
            scanner.sendall(b"\x16\x03\x01 no HTTP at all\r\nERROR forged\r\n\r\n")
            assert scanner.recv(100).startswith(b"HTTP/1.1 400 ")
        # Pings, a check of access, and the gateway's look at its outbox: all of them several times.
        for _ in range(3):
            own.until("ping")
    assert one.run("taskbell", "prune").returncode == 0
    assert one.run("taskbell", "status").returncode == 0


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_healthy_day_is_a_start_and_a_stop(logged: Callable[[str], tuple[Project, Path]], database: str) -> None:
    one, file = logged(database)
    gateway = one.serve()
    a_busy_day(one, gateway)
    assert gateway.stop() == 0
    assert [(record["level"], record["message"]) for record in records(file)] == [("INFO", START), ("INFO", STOP)]


def test_a_fault_that_lasts_is_told_once_by_each_who_met_it(logged: Callable[[str], tuple[Project, Path]]) -> None:
    """The database is away for seconds: a hundred tries, a line for each part that failed, and nobody's name in it."""
    one, file = logged("sqlite")
    gateway = one.serve()
    database = Path(one.address)
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        aside = database.with_suffix(".away")
        shutil.move(database, aside)
        database.mkdir()
        gateway.wait_until(lambda: gateway.status("/readyz") == 503, what="not ready")
        for _ in range(3):
            stream.until("ping")
        database.rmdir()
        shutil.move(aside, database)
        gateway.wait_until(lambda: gateway.status("/readyz") == 200, what="ready again")
    assert gateway.stop() == 0
    messages = [record["message"] for record in records(file)]
    assert (messages[0], messages[-1]) == (START, STOP)
    faults = [record["message"] for record in records(file) if record["level"] == "ERROR"]
    assert len(faults) == len(set(faults)), "none twice within a minute"
    assert any("The log cannot be read or moved" in message for message in messages)
    assert not [message for message in messages if "public:news" in message or "127.0.0.1" in message]
