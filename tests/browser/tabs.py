"""Tabs of one browser, each on the same page, and what their handlers heard."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from selenium.common.exceptions import WebDriverException

from tests.browser.site import Site

# Handlers keep what they heard on their page.
LISTEN = """
window.heard = [];
window.statuses = [taskbell.status];
taskbell.on("message", (data) => heard.push(data.n));
taskbell.addEventListener("status", () => statuses.push(taskbell.status));
"""


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
        return self.open_here()

    def open_here(self) -> str:
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
        """Every tab hears everything once and in order, and is live."""
        for _ in self.visit():
            self.site.until(lambda: len(self.site.run("return heard")) >= len(self.published), "not all was heard")
            assert self.site.run("return heard") == self.published
            self.site.until_live()

    def until_status(self, status: str) -> None:
        for _ in self.visit():
            self.site.until(lambda: self.site.run("return taskbell.status") == status, f"not {status}")

    @property
    def statuses(self) -> list[list[str]]:
        """Return for each tab what its status was, first to last."""
        return [self.site.run("return statuses") for _ in self.visit()]

    def close(self) -> None:
        """Close all tabs but the first."""
        for handle in self.handles[1:]:
            with suppress(WebDriverException):
                self.browser.switch_to.window(handle)
                self.browser.close()
        self.browser.switch_to.window(self.handles[0])

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
