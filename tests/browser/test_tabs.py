"""Many tabs of one browser on one stream, over HTTP/1.1, where a browser has six connections to a site."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException

from tests.browser.site import Site

pytestmark = pytest.mark.browser

TABS = 7
# Handlers keep what they heard on their page.
LISTEN = "window.heard = []; taskbell.on('message', (data) => heard.push(data.n))"


class Tabs:
    """The tabs of a browser, each on the same page; what was published is counted."""

    def __init__(self, site: Site, count: int) -> None:
        self.site = site
        self.published: list[int] = []
        self.handles: list[str] = []
        for _ in range(count):
            self.open()

    @property
    def browser(self) -> Any:
        return self.site.browser

    def open(self) -> str:
        if self.handles:
            self.browser.switch_to.new_window("tab")
        self.site.open()
        self.handles.append(self.browser.current_window_handle)
        self.site.until_live()
        self.site.run(LISTEN)
        return self.handles[-1]

    def visit(self) -> Iterator[str]:
        for handle in self.handles:
            self.browser.switch_to.window(handle)
            yield handle

    def publish(self) -> None:
        self.published.append(len(self.published) + 1)
        self.site.publish("message", {"n": self.published[-1]})

    def until_all_heard(self) -> None:
        for _ in self.visit():
            self.site.until(lambda: len(self.site.run("return heard")) >= len(self.published), "not all was heard")
            assert self.site.run("return heard") == self.published

    @property
    def reader(self) -> str:
        """Return the tab that holds the lock."""
        holder = self.site.run("return navigator.locks.query().then(({held}) => held.map(({clientId}) => clientId))")
        assert len(holder) == 1
        for handle in self.visit():
            mine = self.site.run(
                """return navigator.locks.request('who am I', (lock) => navigator.locks.query())
                   .then(({held}) => held.find(({name}) => name === 'who am I').clientId)"""
            )
            if mine == holder[0]:
                return handle
        raise AssertionError("no tab holds the lock")


@pytest.fixture
def tabs(site: Site) -> Iterator[Tabs]:
    tabs = Tabs(site, TABS)
    yield tabs
    for handle in tabs.handles[1:]:
        with suppress(WebDriverException):
            site.browser.switch_to.window(handle)
            site.browser.close()
    site.browser.switch_to.window(tabs.handles[0])


def test_seven_tabs_are_live_and_the_site_still_answers(tabs: Tabs) -> None:
    tabs.publish()
    tabs.until_all_heard()
    assert tabs.site.run("return fetch('/page/').then((answer) => answer.status)") == 200


def test_the_reading_tab_is_closed(tabs: Tabs) -> None:
    tabs.publish()
    tabs.until_all_heard()
    for _ in range(3):
        reader = tabs.reader
        tabs.publish()
        tabs.browser.switch_to.window(reader)
        tabs.browser.close()
        tabs.handles.remove(reader)
        tabs.publish()
        tabs.until_all_heard()
    tabs.open()


def test_the_reading_tab_crashes(tabs: Tabs) -> None:
    reader = tabs.reader
    tabs.browser.switch_to.window(reader)
    with suppress(WebDriverException):
        tabs.browser.execute_cdp_cmd("Page.crash", {})
    tabs.handles.remove(reader)
    tabs.publish()
    tabs.until_all_heard()


def test_the_reading_tab_freezes(tabs: Tabs) -> None:
    reader = tabs.reader
    tabs.browser.switch_to.window(reader)
    tabs.browser.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "frozen"})
    tabs.handles.remove(reader)
    tabs.publish()
    tabs.until_all_heard()
    tabs.browser.switch_to.window(reader)
    tabs.browser.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "active"})
    tabs.handles.insert(0, reader)
    tabs.publish()
    tabs.until_all_heard()


def test_the_server_restarts(tabs: Tabs) -> None:
    tabs.publish()
    tabs.until_all_heard()
    tabs.site.restart()
    tabs.publish()
    tabs.until_all_heard()


def test_a_reload_and_going_back(tabs: Tabs) -> None:
    tabs.publish()
    tabs.until_all_heard()
    tabs.browser.get(f"{tabs.site.origin}/")
    tabs.publish()
    tabs.browser.back()
    tabs.site.until(lambda: tabs.site.run("return Boolean(window.heard)"), "the page was not kept")
    tabs.until_all_heard()
