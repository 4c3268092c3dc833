"""`serve` as a service manager and as a person at a terminal see it."""

import re
import shutil
import signal
import socket
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import override_settings

from taskbell.management.serving.listening import address, listen, port_number
from tests.management.calls import taskbell
from tests.servers.process import Process, free_port
from tests.servers.project import Gateway, Project, environment
from tests.servers.sse import Stream

# This module is also a URLconf without streams.
urlpatterns: list[Any] = []

BANNER = re.compile(
    r"Taskbell serves streams on http://127\.0\.0\.1:(\d+)/events/\n"
    r"Process (\d+), database 'default', wakeup sqlite\. Stop it with Ctrl-C or SIGTERM\.\n"
)


def printed(process: Process, pattern: str | re.Pattern[str]) -> re.Match[str]:
    process.wait_until(lambda: re.search(pattern, process.output()) is not None, what=f"printing {pattern}")
    found = re.search(pattern, process.output())
    assert found is not None
    return found


@pytest.mark.proof
def test_the_banner_says_where_who_and_how_to_stop(project: Callable[[str], Project]) -> None:
    process = project("sqlite").popen("taskbell", "serve", "--port", "0")
    banner = printed(process, BANNER)
    assert int(banner[2]) == process.pid
    with Stream(int(banner[1]), "/events/public:a/") as stream:
        assert stream.status == 200
    assert process.stop() == 0
    assert BANNER.fullmatch(process.output())


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("streams", [0, 3])
def test_a_stop_that_was_asked_for_is_quiet_and_a_success(
    project: Callable[[str], Project], number: signal.Signals, streams: int
) -> None:
    gateway = project("sqlite").serve()
    opened = [gateway.stream("/events/public:a/") for _ in range(streams)]
    for stream in opened:
        stream.until("ping")
    gateway.send_signal(number)
    for stream in opened:
        assert stream.rest()[-1].json == {"reason": "drain"}
        stream.close()
    assert gateway.wait(10) == 0
    assert re.fullmatch(r".*\n.*\n", gateway.output())


@pytest.mark.proof
def test_it_listens_on_ipv6(project: Callable[[str], Project]) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    process = project("sqlite").popen("taskbell", "serve", "--host", "::1", "--port", "0")
    banner = printed(process, r"http://\[::1\]:(\d+)/events/")
    with socket.create_connection(("::1", int(banner[1]))) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 ")
    assert process.stop() == 0


@pytest.mark.proof
def test_a_database_that_is_away_is_waited_for(project: Callable[[str], Project], tmp_path: Path) -> None:
    one = project("sqlite")
    away = tmp_path / "later" / "db.sqlite3"
    one.env |= environment(str(away))
    port = free_port()
    gateway = one._gateway(port, "-m", "django", "taskbell", "serve", "--port", str(port))
    printed(gateway, "does not answer: unable to open database file.*No stream is served until it answers")
    gateway.wait_until(lambda: gateway.status("/livez") == 200, what="alive")
    assert gateway.status("/readyz") == 503
    with gateway.stream("/events/public:a/") as stream:
        assert stream.status == 503
    away.parent.mkdir()
    shutil.copyfile(one.address, away)
    gateway.wait_until(lambda: gateway.status("/readyz") == 200, what="ready")
    assert gateway.stop() == 0


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError) as told:
            listen("127.0.0.1", port)
    said = f"Cannot listen on 127.0.0.1 port {port}: Address already in use. Choose another --host or --port."
    assert str(told.value) == said


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "2001:db8::1", "fe80::zz"])
def test_a_host_that_is_not_here_is_a_sentence(host: str) -> None:
    with pytest.raises(CommandError, match=f"Cannot listen on {host} port 0: .*Choose another --host"):
        listen(host, 0)


def test_two_colons_are_every_address() -> None:
    with listen("::", 0) as listening:
        assert address(listening).startswith("[::]:")
        port = listening.getsockname()[1]
        if socket.has_dualstack_ipv6():
            socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("text", ["65536", "-1", "http", "80.0", "", "٣", " 80", "1e3"])
def test_a_port_is_a_number(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="Write a number from 0 to 65535"):
        port_number(text)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("8001", 8001), ("65535", 65_535)])
def test_which_numbers_are_ports(text: str, port: int) -> None:
    assert port_number(text) == port


@override_settings(ROOT_URLCONF="tests.management.test_serve")
def test_a_project_without_streams_is_told_what_to_add() -> None:
    with pytest.raises(CommandError, match=r'Add path\("events/", include\("taskbell.urls.events"\)\)'):
        taskbell("serve", "--port", "0")


@override_settings(TASKBELL={"WAKEUP": "carrier pigeon"})
def test_a_wakeup_that_cannot_be_is_told() -> None:
    with pytest.raises(CommandError, match="'auto', 'poll', 'postgres'"):
        taskbell("serve", "--port", "0")


def test_without_uvicorn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.management.serving.server.find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pip install 'taskbell\[serve\]'"):
        taskbell("serve")


def test_a_uvicorn_it_cannot_use_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("detach", "server"):
        monkeypatch.setitem(sys.modules, f"taskbell.gateway.{module}", None)
    with pytest.raises(CommandError, match=r"cannot use the uvicorn that is installed.*pip install"):
        taskbell("serve")


@pytest.mark.proof
def test_a_uvicorn_it_does_not_know_is_told_and_tried(project: Callable[[str], Project], tmp_path: Path) -> None:
    one = project("sqlite")
    (tmp_path / "sitecustomize.py").write_text("import uvicorn\nuvicorn.__version__ = '99.1.0'\n")
    one.env["PYTHONPATH"] = f"{tmp_path}:{one.env['PYTHONPATH']}"
    gateway: Gateway = one.serve()
    assert "was not tested with uvicorn 99.1.0. Streams go by its plain way" in gateway.output()
    assert gateway.stop() == 0
