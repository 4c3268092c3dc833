"""The doctor comes from outside, as a browser does: break the way at each place, and it names that place."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.db import connection, transaction

from taskbell.models import Log, LogHead, Outbox
from tests.conftest import missing
from tests.gateway.real import QUICK, Make
from tests.management.test_doctor import failed, told
from tests.servers.nginx import Nginx
from tests.servers.process import Unavailable, free_port
from tests.servers.project import Gateway, Project

pytestmark = pytest.mark.proof

GOOD = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host;"


def doctor(one: Project, url: str, *options: str) -> tuple[int, str]:
    """Return the exit status and what was printed."""
    ran = one.run("taskbell", "doctor", "--url", url, *options)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def address(gateway: Gateway) -> str:
    return f"http://127.0.0.1:{gateway.port}/events/"


@contextmanager
def proxy(location: str) -> Iterator[tuple[str, Nginx]]:
    """An nginx with this in its one location, and the address of streams behind it."""
    url = f"http://127.0.0.1:{free_port()}/events/"
    nginx = Nginx(site(url, location))
    try:
        nginx.start()
    except Unavailable as error:
        missing(error)
    try:
        yield url, nginx
    finally:
        nginx.remove()


def site(url: str, location: str) -> str:
    return f"server {{ listen {urlsplit(url).netloc}; location / {{ {location} }} }}"


@pytest.fixture
def one(project: Make) -> Project:
    made = project("sqlite")
    made.configure(**QUICK | {"PING": 5, "STREAMS_PER_PROCESS": 1_000})
    return made


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_whole_way_with_the_time_of_every_hop(project: Make, database: str) -> None:
    one = project(database)
    gateway = one.serve()
    with proxy(f"proxy_pass http://127.0.0.1:{gateway.port}; {GOOD}") as (url, _):
        status, out = doctor(one, url)
    assert (status, failed(out)) == (0, [])
    for hop, text in {
        "door": f"a gateway answers at {url}",
        "stream": "it opens, neither gathered nor compressed",
        "tick": "a running gateway numbered a test event",
        "delivery": "the test event came by the stream",
    }.items():
        assert re.fullmatch(rf"(ok  |look)  {hop:<9} {text}( late)? \(\d+ ms\)", told(out)[hop]), out
    # One row is left, and prune takes it when its time has come.
    assert (Log.objects.count(), Outbox.objects.count()) == (1, 0)


#: What stands in nginx's location, the hop that fails by it, what is said of it, what is advised.
WRONG = {
    "buffering": ("proxy_ignore_headers X-Accel-Buffering;", "stream", "not begin|not come", "proxy_buffering off"),
    "compression": ("gzip on; gzip_types text/event-stream;", "stream", r"compressed \(gzip\)", "gzip off"),
    "another prefix": ("rewrite ^/events/(.*) /streams/$1 break;", "door", "HTTP 404", "whole path"),
    "redirect": ("return 301 https://mysite.example/live/?a=secret;", "door", "https://mysite.example/live/ ", "--url"),
    "no such location": ("return 404;", "door", "HTTP 404", "address in your urls.py"),
    "another server": ("return 200 hello;", "door", "HTTP 200: hello", "who else answers"),
}


def test_a_proxy_that_is_set_up_wrong(one: Project) -> None:
    gateway = one.serve()
    with proxy("return 503;") as (url, nginx):
        for name, (location, hop, text, advice) in WRONG.items():
            nginx.write(site(url, f"proxy_pass http://127.0.0.1:{gateway.port}; {GOOD} {location}"))
            nginx.reload()
            status, out = doctor(one, url)
            assert (status, failed(out)) == (1, [hop]), name
            assert re.search(text, told(out)[hop]), name
            assert advice in out, name
            assert "secret" not in out
            assert told(out)["tick"].startswith("ok"), "the hops behind it are fine"


def test_a_proxy_without_a_gateway(one: Project) -> None:
    with proxy(f"proxy_pass http://127.0.0.1:{free_port()}; {GOOD}") as (url, _):
        status, out = doctor(one, url)
    assert (status, failed(out)) == (1, ["door"])
    assert "HTTP 502" in told(out)["door"]
    assert "-> The proxy reaches no gateway" in out
    assert told(out)["tick"].startswith("look")


def test_a_gateway_that_is_frozen(one: Project) -> None:
    gateway = one.serve()
    gateway.pause()
    status, out = doctor(one, address(gateway))
    gateway.resume()
    assert (status, failed(out)) == (1, ["door"])
    assert "no answer from" in told(out)["door"]
    assert "-> Is the gateway frozen" in out


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:{free}/events/", "nobody listens at"),
        ("http://no.such.host.invalid/events/", "is not known"),
        ("https://127.0.0.1:{port}/events/", "TLS with"),
        ("http://127.0.0.1:{port}/streams/", "HTTP 404"),
    ],
    ids=["no gateway", "no such name", "no TLS", "another prefix"],
)
def test_an_address_that_is_wrong(one: Project, url: str, text: str) -> None:
    gateway = one.serve()
    status, out = doctor(one, url.format(free=free_port(), port=gateway.port))
    assert (status, failed(out)) == (1, ["door"])
    assert text in told(out)["door"]


def test_a_gateway_of_another_database(project: Make, one: Project) -> None:
    ours = one.serve()
    theirs = project("sqlite").serve()
    status, out = doctor(one, address(theirs))
    assert (status, failed(out)) == (1, ["delivery"])
    assert "-> Does the gateway at this address use this database" in out
    assert ours.alive


def test_a_head_that_nobody_can_lock(project: Make) -> None:
    """The gateway answers and holds streams, but what is published stays where it is."""
    one = project("postgres")
    gateway = one.serve()
    gateway.wait_until(LogHead.objects.exists, what="begun")
    with transaction.atomic():
        LogHead.objects.select_for_update().get()
        status, out = doctor(one, address(gateway))
    connection.close()
    assert (status, failed(out)) == (1, ["tick"])
    assert told(out)["stream"].startswith("ok")
    assert "-> Somebody holds the lock of the head" in out


def test_a_gateway_that_is_not_rung(one: Project) -> None:
    one.configure(WAKEUP="poll", POLL=3)
    gateway = one.serve()
    one.configure(WAKEUP="auto")
    # A poll may come just then; eight times in a row it does not.
    for _ in range(8):
        status, out = doctor(one, address(gateway))
        assert status == 0, "late is no failure"
        if "look  delivery  the test event came by the stream late" in out:
            return
    raise AssertionError(out)


def test_a_person_who_is_signed_in(one: Project) -> None:
    one.person("yamkant")
    gateway = one.serve()
    status, out = doctor(one, address(gateway), "--user", "yamkant")
    assert (status, failed(out)) == (0, [])
    assert re.fullmatch(r"ok    session   one's own stream opens \(\d+ ms\)", told(out)["session"])
    assert not Session.objects.exists(), "it is signed out again"


def test_a_gateway_with_another_secret_key(one: Project, tmp_path: Path) -> None:
    """Sessions of the site mean nothing to it, and everybody is a stranger."""
    one.person("yamkant")
    (tmp_path / "stranger.py").write_text("from tests.settings import *\nSECRET_KEY = 'another'\n")
    before = dict(one.env)
    one.env |= {"DJANGO_SETTINGS_MODULE": "stranger", "PYTHONPATH": f"{tmp_path}:{one.env['PYTHONPATH']}"}
    gateway = one.serve()
    one.env.clear()
    one.env.update(before)
    status, out = doctor(one, address(gateway), "--user", "yamkant")
    assert (status, failed(out)) == (1, ["session"])
    assert "HTTP 401: Sign in first." in told(out)["session"]
    assert "-> The gateway does not know a session made here" in out
    assert not Session.objects.exists()
