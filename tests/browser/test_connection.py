"""What happens to a connection on its way: to a laptop, its network, what stands before the site, and the browser.

Whatever it is, every handler on every page hears every event once, and `status` says how it stands.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil
import pytest

from tests.browser.site import Site
from tests.browser.tabs import Tabs
from tests.servers.proxy import Proxy, answer

pytestmark = pytest.mark.browser

# The shortest that there is: the client's patience is two and a half of it.
PING = 5
SILENCE = 2.5 * PING

PAGE = "<!doctype html><h1>We will be back in a moment</h1>"
ANSWERS = {
    "502": answer("502 Bad Gateway", PAGE, Content_Type="text/html"),
    "503 and when": answer("503 Service Unavailable", PAGE, Content_Type="text/html", Retry_After="1"),
    "429 and when": answer("429 Too Many Requests", PAGE, Content_Type="text/html", Retry_After="1"),
    "200 and a page": answer("200 OK", PAGE, Content_Type="text/html; charset=utf-8"),
    "200 and no end": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\nid: 1",
    "nothing": b"",
    "no HTTP": b"220 smtp ready\r\n",
}


@pytest.fixture
def keys() -> dict[str, Any]:
    return {"PING": PING}


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    with closing(Proxy(site.gateway.port)) as proxy:
        site.port = proxy.port
        yield proxy


@pytest.fixture
def tabs(site: Site, proxy: Proxy) -> Iterator[Tabs]:
    tabs = Tabs(site, 2)
    tabs.publish()
    tabs.until_all_heard()
    assert proxy.streams == 1
    yield tabs
    tabs.publish()
    tabs.until_all_heard()
    tabs.close()


def test_deploys_with_all_that_a_proxy_may_say_meanwhile(tabs: Tabs, proxy: Proxy) -> None:
    for name, said in ANSWERS.items():
        print(name)
        proxy.refuse(said)
        tabs.until_status("offline")
        tabs.publish()
        proxy.heal()
        tabs.until_all_heard()
    assert tabs.statuses == [["live", *["offline", "live"] * len(ANSWERS)]] * 2
    # Chromium's words about this are no fault of the page.
    tabs.site.logged()


def test_a_browsers_own_eventsource_would_not_come_back(tabs: Tabs, proxy: Proxy) -> None:
    tabs.site.run("window.source = new EventSource('/events/')")
    tabs.site.until(lambda: tabs.site.run("return source.readyState") == 1, "not open")
    proxy.refuse(ANSWERS["502"])
    tabs.site.until(lambda: tabs.site.run("return source.readyState") == 2, "not closed")
    proxy.heal()
    tabs.until_all_heard()


def test_who_is_told_when_to_come_back_does_not_come_before(tabs: Tabs, proxy: Proxy) -> None:
    proxy.refuse(answer("503 Service Unavailable", Retry_After="3"))
    asked = len(proxy.asked_at)
    tabs.site.until(lambda: len(proxy.asked_at) >= asked + 2, "nobody asked again")
    first, second = proxy.asked_at[asked : asked + 2]
    assert second - first >= 3
    proxy.heal()


def test_a_server_that_dies_inside_a_frame(tabs: Tabs, proxy: Proxy) -> None:
    for times, mark in enumerate([b"id: ", b"event: mess", b'"n"', b"}", b"}\n"], start=1):
        proxy.cut_inside(mark)
        tabs.publish()
        tabs.publish()
        tabs.until_all_heard()
        assert len(proxy.asked_at) == 1 + times, mark


def test_a_gateway_that_is_killed(tabs: Tabs, proxy: Proxy) -> None:
    gateway = tabs.site.gateway
    gateway.destroy()
    tabs.until_status("offline")
    tabs.publish()
    tabs.site.gateway = tabs.site.project.uvicorn("--http", "taskbell.gateway.server:StreamProtocol", port=gateway.port)
    tabs.until_all_heard()


def test_a_network_that_swallows_everything_and_says_nothing(tabs: Tabs, proxy: Proxy) -> None:
    """Nobody breaks the connection: the client's own patience ends."""
    proxy.swallow()
    tabs.publish()
    tabs.until_status("offline")
    proxy.heal()
    tabs.until_all_heard()


def test_a_laptop_that_sleeps(tabs: Tabs, proxy: Proxy) -> None:
    """Its network forgets the connection, and tells nobody. Ten minutes of it are in tests/js, by a clock of theirs."""
    with asleep(tabs.browser):
        proxy.swallow()
        tabs.publish()
        tabs.publish()
        time.sleep(SILENCE + 1)  # what is tried is time that passes
    # With the lid the network comes back, but not the connection.
    assert proxy.streams == 1
    tabs.until_status("offline")
    proxy.heal()
    tabs.until_all_heard()
    assert proxy.streams == 1


@contextmanager
def asleep(browser: Any) -> Iterator[None]:
    """Stop every process of the browser, as the machine under it would."""
    driver = psutil.Process(browser.service.process.pid)
    processes = driver.children(recursive=True)
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_offline_and_online_again(tabs: Tabs, proxy: Proxy) -> None:
    for _ in tabs.visit():
        network(tabs.browser, offline=True)
        assert tabs.site.run("return navigator.onLine") is False
        # The pages are told that the network is back: nobody waits for the end of a pause.
        tabs.site.run("window.setTimeout = () => 0")
    # Chromium itself closes what is open when a network goes; told to play it, it does not.
    proxy.cut()
    tabs.until_status("offline")
    tabs.publish()
    asked = len(proxy.asked_at)
    assert proxy.streams == 0
    for _ in tabs.visit():
        network(tabs.browser, offline=False)
    tabs.until_all_heard()
    assert len(proxy.asked_at) == asked + 1
    assert proxy.streams == 1
    tabs.site.logged()


def network(browser: Any, *, offline: bool) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)


def test_going_away_and_back(tabs: Tabs, proxy: Proxy) -> None:
    """Each page in turn, the reader among them, is kept by the browser while it is not shown, and holds nothing."""
    for handle in list(tabs.visit()):
        tabs.browser.switch_to.window(handle)
        tabs.site.run("addEventListener('pageshow', ({persisted}) => (window.persisted = persisted))")
        tabs.browser.get(f"{tabs.site.origin}/")
        tabs.publish()
        tabs.browser.back()
        tabs.site.until(lambda: tabs.site.run("return window.persisted") is True, "the page was not kept")
        tabs.until_all_heard()
    assert proxy.streams == 1


def test_storage_is_cleared_under_an_open_page(tabs: Tabs) -> None:
    for _ in tabs.visit():
        tabs.site.run("sessionStorage.clear()")
    tabs.publish()
    tabs.until_all_heard()
    # The next page begins where it was rendered.
    tabs.site.run("sessionStorage.clear()")
    tabs.browser.refresh()
    tabs.site.until_live()
    tabs.site.run("window.heard = []; taskbell.on('message', (data) => heard.push(data.n))")
    tabs.publish()
    tabs.site.until(lambda: tabs.site.run("return heard") == tabs.published[-1:], "not heard")
    tabs.site.run("window.heard = arguments[0]", tabs.published)


def test_everything_of_the_site_is_cleared(tabs: Tabs, proxy: Proxy) -> None:
    """With the cookies: nobody is signed in any more, and whoever signs in again goes on."""
    everything = {"origin": tabs.site.origin, "storageTypes": "all"}
    tabs.browser.execute_cdp_cmd("Storage.clearDataForOrigin", everything)
    proxy.cut()
    tabs.until_status("signed-out")
    asked = len(proxy.asked_at)
    tabs.publish()
    name, value = tabs.site.project.sign_in(tabs.site.ann).split("=", 1)
    tabs.browser.add_cookie({"name": name, "value": value, "httpOnly": True})
    assert len(proxy.asked_at) == asked, "who is signed out does not ask again"
    tabs.site.run("taskbell.wake()")
    tabs.until_all_heard()
    assert all("401" in problem for problem in tabs.site.problems())


def test_where_there_are_no_locks_every_tab_has_a_stream(site: Site, proxy: Proxy) -> None:
    """A page over plain HTTP on another machine is not secure: Chromium gives it no locks."""
    site.host = "taskbell.test"
    site.sign_in()
    tabs = Tabs(site, 2)
    for _ in tabs.visit():
        assert site.run("return [isSecureContext, 'locks' in navigator]") == [False, False]
    assert proxy.streams == 2
    tabs.publish()
    tabs.until_all_heard()
    proxy.cut()
    tabs.publish()
    tabs.until_all_heard()
    tabs.close()


def test_where_tabs_cannot_hear_each_other_every_tab_has_a_stream(site: Site, proxy: Proxy) -> None:
    script = {"source": "delete window.BroadcastChannel"}
    tabs = Tabs(site, 0)
    for count in (1, 2):
        if count > 1:
            site.browser.switch_to.new_window("tab")
        site.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
        tabs.open_here()
        assert site.run("return 'BroadcastChannel' in window") is False
        assert proxy.streams == count
    tabs.publish()
    tabs.until_all_heard()
    tabs.close()
