"""Many tabs of one browser on one stream, over HTTP/1.1, where a browser has six connections to a site."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from selenium.common.exceptions import WebDriverException

from tests.browser.site import Site
from tests.browser.tabs import Tabs

pytestmark = pytest.mark.browser

TABS = 7


@pytest.fixture
def tabs(site: Site) -> Iterator[Tabs]:
    tabs = Tabs(site, TABS)
    yield tabs
    tabs.close()


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
