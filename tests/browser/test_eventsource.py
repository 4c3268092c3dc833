"""Chromium's own EventSource, with not a line of ours in the page but the one that the README promises."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from selenium.webdriver import Chrome

from taskbell import publish
from taskbell.store.head import new_epoch
from tests.gateway.real import QUICK, Make, say
from tests.gateway.test_frames import NASTY
from tests.servers.project import Gateway, Project

pytestmark = [pytest.mark.proof, pytest.mark.browser]

# Deliberately bare. What is kept as text was parsed and written again by the page itself.
OPEN = """
window.seen = [];
window.source = new EventSource(arguments[0]);
const keep = event => window.seen.push([event.type, event.data, event.lastEventId]);
for (const type of ["message", "ping", "reset", "bye", "other"]) window.source.addEventListener(type, keep);
"""

KINDS = pytest.mark.parametrize(
    "options", [["--http", "taskbell.gateway.server:StreamProtocol"], []], ids=["detached", "plain"]
)


class Page:
    """A page of the project, in which somebody is signed in and an EventSource is open."""

    def __init__(self, browser: Chrome, gateway: Gateway, cookie: str, path: str) -> None:
        self.browser = browser
        browser.get(f"http://127.0.0.1:{gateway.port}/")
        name, _, value = cookie.partition("=")
        browser.add_cookie({"name": name, "value": value, "httpOnly": True})
        browser.execute_script(OPEN, path)
        self.until(lambda: "ping" in [type for type, _, _ in self.seen])

    @property
    def seen(self) -> list[tuple[str, str, str]]:
        """Type, data and id of every event so far."""
        return [tuple(event) for event in self.browser.execute_script("return window.seen")]

    @property
    def messages(self) -> list[Any]:
        return [json.loads(data) for type, data, _ in self.seen if type == "message"]

    def until(self, ready: Callable[[], bool], timeout: float = 20) -> None:
        deadline = time.monotonic() + timeout
        while not ready():
            assert time.monotonic() < deadline, self.seen[-5:]
            time.sleep(0.05)

    def close(self) -> None:
        self.browser.execute_script("window.source.close()")


def start(one: Project, options: list[str], port: int | None = None) -> Gateway:
    one.env["DJANGO_SETTINGS_MODULE"] = "tests.browser.settings"
    return one.uvicorn(*options, port=port)


@KINDS
def test_a_page_receives_what_was_published_to_its_person(project: Make, browser: Chrome, options: list[str]) -> None:
    one = project("sqlite")
    yamkant = one.person("yamkant")
    gateway = start(one, options)
    page = Page(browser, gateway, one.sign_in(yamkant), "/events/yamkant/")
    publish(yamkant, "message", {"msg": "안녕"})
    publish(one.person("minji"), "message", "not for this page")
    publish(yamkant, "other", [1, 2])
    page.until(lambda: "other" in [type for type, _, _ in page.seen])
    assert [(type, json.loads(data)) for type, data, _ in page.seen if type != "ping"] == [
        ("message", {"msg": "안녕"}),
        ("other", [1, 2]),
    ]
    page.close()


@KINDS
def test_chromium_parses_every_payload_to_what_was_published(
    project: Make, browser: Chrome, options: list[str]
) -> None:
    """The page parses and says whether it holds the same value; selenium's own way back would change some of them."""
    one = project("sqlite")
    yamkant = one.person("yamkant")
    gateway = start(one, options)
    page = Page(browser, gateway, one.sign_in(yamkant), "/events/yamkant/")
    for payload in NASTY.values():
        say(payload, to=yamkant)
    page.until(lambda: len(page.messages) == len(NASTY))
    assert {type for type, _, _ in page.seen} == {"message", "ping"}, "nothing was forged"
    for name, payload, (_, data, _) in zip(
        NASTY, NASTY.values(), (event for event in page.seen if event[0] == "message"), strict=True
    ):
        assert repr(json.loads(data)) == repr(payload), name
        script = "return same(JSON.parse(arguments[0]), JSON.parse(arguments[1]))"
        assert browser.execute_script(SAME + script, data, json.dumps(payload)), name
    assert browser.execute_script("return ({}).polluted") is None
    minus_zero = next(data for _, data, _ in page.seen if data == "-0.0")
    assert browser.execute_script("return Object.is(JSON.parse(arguments[0]), -0)", minus_zero)
    page.close()


SAME = """
const same = (a, b) => Object.is(a, b) || (typeof a === "object" && typeof b === "object" && a !== null && b !== null &&
  Array.isArray(a) === Array.isArray(b) && Object.keys(a).length === Object.keys(b).length &&
  Object.keys(a).every(key => Object.hasOwn(b, key) && same(a[key], b[key])));
"""


@KINDS
def test_the_largest_event_arrives(project: Make, browser: Chrome, options: list[str]) -> None:
    one = project("sqlite")
    yamkant = one.person("yamkant")
    page = Page(browser, start(one, options), one.sign_in(yamkant), "/events/")
    say("x" * (64 * 1024 - 2), to=yamkant)
    page.until(lambda: [len(message) for message in page.messages] == [64 * 1024 - 2])
    page.close()


@KINDS
@pytest.mark.parametrize("end", [Gateway.stop, Gateway.destroy], ids=["stopped", "killed"])
def test_after_a_restart_nothing_is_lost_or_doubled(
    project: Make, browser: Chrome, options: list[str], end: Callable[[Gateway], Any]
) -> None:
    """The browser comes back by itself, with Last-Event-ID, and is sent nothing twice."""
    one = project("sqlite")
    one.configure(**QUICK)
    yamkant = one.person("yamkant")
    gateway = start(one, options)
    page = Page(browser, gateway, one.sign_in(yamkant), "/events/yamkant/")
    say(*range(3), to=yamkant)
    page.until(lambda: page.messages == [0, 1, 2])
    end(gateway)
    say(*range(3, 6), to=yamkant)
    gateway = start(one, options, port=gateway.port)
    page.until(lambda: len(page.messages) >= 6)
    say(6, to=yamkant)
    page.until(lambda: 6 in page.messages)
    assert page.messages == list(range(7))
    assert "reset" not in {type for type, _, _ in page.seen}
    page.close()


def test_a_stream_that_ends_at_its_age_comes_back(project: Make, browser: Chrome) -> None:
    one = project("sqlite")
    one.configure(**QUICK, STREAM_AGE=1)
    yamkant = one.person("yamkant")
    page = Page(browser, start(one, []), one.sign_in(yamkant), "/events/")
    deadline, said = time.monotonic() + 5, 0
    while time.monotonic() < deadline:
        say(said, to=yamkant)
        said += 1
        time.sleep(0.1)
    page.until(lambda: len(page.messages) >= said)
    assert page.messages == list(range(said))
    assert [json.loads(data) for type, data, _ in page.seen if type == "bye"][:1] == [{"reason": "age"}]
    page.close()


def test_a_reset_is_seen_by_the_page(project: Make, browser: Chrome) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    yamkant = one.person("yamkant")
    page = Page(browser, start(one, []), one.sign_in(yamkant), "/events/")
    say("before", to=yamkant)
    page.until(lambda: page.messages == ["before"])
    new_epoch("default")
    page.until(lambda: "reset" in [type for type, _, _ in page.seen])
    say("after", to=yamkant)
    page.until(lambda: page.messages == ["before", "after"])
    types = [type for type, _, _ in page.seen if type != "ping"]
    assert types == ["message", "reset", "message"]
    page.close()


def test_somebody_elses_stream_is_refused_for_good(project: Make, browser: Chrome) -> None:
    """Any status but 200 ends a native EventSource."""
    one = project("sqlite")
    one.person("minji")
    gateway = start(one, [])
    page = Page(browser, gateway, one.sign_in(one.person("yamkant")), "/events/yamkant/")
    browser.execute_script("window.other = new EventSource('/events/minji/')")
    page.until(lambda: browser.execute_script("return window.other.readyState") == 2)
    page.close()


def test_a_page_of_another_origin_reads_nothing(project: Make, browser: Chrome) -> None:
    """`localhost` and `127.0.0.1` are two origins and one gateway."""
    one = project("sqlite")
    gateway = start(one, [])
    page = Page(browser, gateway, one.sign_in(one.person("yamkant")), "/events/public:news/")
    address = f"http://localhost:{gateway.port}/events/public:news/"
    browser.execute_script("window.other = new EventSource(arguments[0], {withCredentials: true})", address)
    page.until(lambda: browser.execute_script("return window.other.readyState") == 2)
    with gateway.stream("/events/public:news/", headers={"Origin": "http://localhost:1"}) as stream:
        assert stream.status == 403
    page.close()
