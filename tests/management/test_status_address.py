"""`--status`: liveness, readiness and metrics on an address of their own."""

import signal
import sys
import urllib.error
import urllib.request
from argparse import ArgumentTypeError
from collections.abc import Callable
from http import HTTPStatus

import pytest
from django.core.management import CommandError

from taskbell.management.serving.listening import host_and_port
from taskbell.management.serving.status import Status, showing
from taskbell.management.verbs.serve import seconds
from tests.gateway.real import QUICK, is_, say
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project
from tests.test_metrics import Numbers, parsed

LOCAL = "127.0.0.1"


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and text of an answer, 0 if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{LOCAL}:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def numbers(port: int) -> dict[str, float]:
    """Return the metrics of one gateway, each labelled by its words alone."""
    page: Numbers = parsed(get(port, "/metrics")[1])
    return {" ".join([name, *sorted(word for _, word in labels)]): value for (name, labels), value in page.items()}


@pytest.mark.proof
def test_what_a_gateway_does_is_on_the_page(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    port = free_port()
    gateway = one.serve("--status", f"{LOCAL}:{port}")
    assert (get(port, "/livez"), get(port, "/readyz")) == ((200, "alive\n"), (200, "ready\n"))
    assert get(port, "/other")[0] == 404
    with gateway.stream("/events/public:news/") as stream, gateway.stream("/events/public:news/") as other:
        stream.until("ping")
        other.until("ping")
        say("hello")
        for each in (stream, other):
            each.until(is_("hello"))
        with gateway.stream("/events/public:news/", last_event_id="no cursor of ours") as lost:
            lost.until("reset")
        assert gateway.status("/events/mine:a/") == 404
        told = numbers(port)
        assert told["taskbell_streams_opened_total"] == 3
        assert told["taskbell_writes_total"] == 2
        assert told["taskbell_events_numbered_total"] == told["taskbell_ticks_total"] == 1
        assert told["taskbell_resets_total unknown"] == 1
        assert (told["taskbell_requests_total 200"], told["taskbell_requests_total 404"]) == (3, 1)
        assert told["taskbell_head"] == 1
        assert told["taskbell_ready"] == 1
        assert told["taskbell_wakeup_deaf sqlite"] == 0
    gateway.wait_until(lambda: numbers(port)["taskbell_streams"] == 0, what="empty")
    gateway.wait_until(lambda: numbers(port).get("taskbell_log_head") == 1, what="measured")
    assert numbers(port)["taskbell_streams_closed_total"] == 3
    assert gateway.stop() == 0
    assert get(port, "/livez")[0] == 0


@pytest.mark.proof
def test_a_load_balancer_is_told_before_anybody_is_sent_away(project: Callable[[str], Project]) -> None:
    """Not ready at once, everything goes on for the notice, then `bye`; alive until the end."""
    one = project("sqlite")
    one.configure(**QUICK)
    port = free_port()
    gateway = one.serve("--status", f"{LOCAL}:{port}", "--notice", "2")
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        gateway.terminate()
        gateway.terminate()  # a service manager may say it to every process of a service, and the parent too
        gateway.wait_until(lambda: get(port, "/readyz")[0] == 503, what="not ready")
        assert get(port, "/livez")[0] == 200
        with gateway.stream("/events/public:news/") as late:
            assert late.status == 200, "whoever is still sent here is served"
            say("until the end")
            for each in (stream, late):
                each.until(is_("until the end"))
                assert each.rest()[-1].json == {"reason": "drain"}
        assert get(port, "/livez")[0] in {0, 200}
    assert gateway.wait(10) == 0


@pytest.mark.proof
def test_a_second_ctrl_c_does_not_wait_for_the_notice(project: Callable[[str], Project]) -> None:
    gateway = project("sqlite").serve("--notice", "600")
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        gateway.send_signal(signal.SIGINT)
        gateway.wait_until(lambda: gateway.status("/readyz") == 503, what="not ready")
        gateway.send_signal(signal.SIGINT)
        assert stream.rest()[-1].json == {"reason": "drain"}
    assert gateway.wait(10) == 0


@pytest.mark.proof
def test_the_parent_tells_of_all_its_workers(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"PING": 5})
    port, streams = free_port(), free_port()
    words = ["taskbell", "serve", "--workers", "2", "--port", str(streams), "--status", f"{LOCAL}:{port}"]
    gateway = Gateway(
        [sys.executable, "-m", "django", *words], port=streams, env=one.env, cwd=one.folder, log=one._log()
    )
    one.processes.append(gateway)
    gateway.wait_until(lambda: get(port, "/livez")[0] == 200, what="alive")
    gateway.wait_until(lambda: numbers(port).get("taskbell_ready 1") == 1, what="ready by the first worker")
    gateway.wait_until(lambda: numbers(port).get("taskbell_ready 2") == 1, what="ready by the second worker")
    assert get(port, "/readyz")[0] == 200
    opened = [gateway.stream("/events/public:news/") for _ in range(10)]
    gateway.wait_until(
        lambda: numbers(port)["taskbell_streams 1"] + numbers(port)["taskbell_streams 2"] == 10, what="counted"
    )
    gateway.terminate()
    gateway.wait_until(lambda: get(port, "/readyz")[0] in {503, 0}, what="not ready")
    for stream in opened:
        assert stream.rest()[-1].json == {"reason": "drain"}
        stream.close()
    assert gateway.wait(10) == 0


def test_one_that_stands_still_is_not_alive() -> None:
    live = [True]
    with Status((LOCAL, 0), list, lambda: live[0]) as status:
        assert status.answer("/livez")[0] == HTTPStatus.OK
        live[0] = False
        assert status.answer("/livez") == (HTTPStatus.SERVICE_UNAVAILABLE, "stands still\n")


def test_it_is_ready_while_any_worker_is() -> None:
    reports = [("1", {"ready": False}), ("2", {})]
    with Status((LOCAL, 0), lambda: reports, lambda: True) as status:
        assert status.answer("/readyz")[0] == HTTPStatus.SERVICE_UNAVAILABLE
        reports.append(("3", {"ready": True}))
        assert status.answer("/readyz")[0] == HTTPStatus.OK


def test_an_address_that_is_taken_is_a_sentence() -> None:
    with Status((LOCAL, 0), list, lambda: True) as taken:
        port = taken.server_address[1]
        assert isinstance(port, int)
        with pytest.raises(CommandError, match=f"Cannot listen on {LOCAL} port {port}: .*Choose another --status"):
            with showing((LOCAL, port), list, lambda: True):
                pass


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9101", (LOCAL, 9101)), ("[::1]:9101", ("::1", 9101)), ("9101", (LOCAL, 9101)), (":0", (LOCAL, 0))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert host_and_port(text) == address


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:", "127.0.0.1:http"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no port"):
        host_and_port(text)


@pytest.mark.parametrize("text", ["-1", "1.5", "soon", ""])
def test_a_notice_is_whole_seconds(text: str) -> None:
    assert seconds("30") == 30
    with pytest.raises(ArgumentTypeError, match="Write whole seconds"):
        seconds(text)
