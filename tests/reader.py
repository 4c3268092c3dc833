"""Whoever reads a page of a project: by the tests' own client, or with Chromium."""

import json
import re
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from http.cookiejar import CookieJar
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.servers.sse import Cut, Ended, Stream

USER, PASSWORD = "yamkant", "secret"
SECONDS = 20


class Reader(ABC):
    """Somebody with a browser at the address `site`."""

    site: str

    @abstractmethod
    def sign_in(self) -> None:
        """Fill in the form of the admin."""

    @abstractmethod
    def visit(self, path: str) -> None:
        """Open an address in another tab."""

    @abstractmethod
    def type(self, script: str) -> None:
        """Type a script into the console."""

    @abstractmethod
    def line(self) -> str:
        """Return the next line of the console."""


class ByHand(Reader):
    """The tests' own client. Of a script it understands which stream it opens."""

    def __init__(self) -> None:
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self._stream: Stream | None = None

    @property
    def headers(self) -> dict[str, str]:
        assert self._stream is not None
        return self._stream.headers

    def sign_in(self) -> None:
        self.visit("/admin/login/")
        token = self._cookie("csrftoken")
        form = {"username": USER, "password": PASSWORD, "csrfmiddlewaretoken": token, "next": "/admin/"}
        self._opener.open(f"{self.site}/admin/login/", urllib.parse.urlencode(form).encode()).close()
        assert self._cookie("sessionid")

    def visit(self, path: str) -> None:
        with self._opener.open(self.site + path) as answer:
            assert answer.status == 200

    def type(self, script: str) -> None:
        found = re.search(r'new EventSource\("([^"]+)"\)', script)
        assert found
        self._path = found[1]
        self._open()

    def line(self) -> str:
        assert self._stream is not None
        while True:
            try:
                return self._stream.take(1, type="message", timeout=SECONDS)[0].data
            except (Ended, Cut):
                self._open()

    def runs(self) -> list[dict[str, Any]]:
        """Return what is told of a run, up to its ending."""
        assert self._stream is not None
        told: list[dict[str, Any]] = []
        while not told or told[-1]["finished_at"] is None:
            told.append(json.loads(self._stream.take(1, type="run", timeout=SECONDS)[0].data))
        return told

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _open(self) -> None:
        after = self._stream.last_event_id if self._stream else ""
        self.close()
        port = int(self.site.rpartition(":")[2])
        session = f"sessionid={self._cookie('sessionid')}"
        self._stream = Stream(port, self._path, cookie=session, last_event_id=after)
        assert self._stream.status == 200
        # As a browser does: only what comes after the script was typed is for the console.
        self._stream.until("ping")

    def _cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == name), "")


class InChromium(Reader):
    """A browser. Its console is kept in the page."""

    def __init__(self, chrome: Chrome) -> None:
        self._chrome = chrome
        self._seen = 0

    def sign_in(self) -> None:
        self._chrome.get(f"{self.site}/admin/")
        self._chrome.find_element(By.NAME, "username").send_keys(USER)
        self._chrome.find_element(By.NAME, "password").send_keys(PASSWORD)
        self._chrome.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        WebDriverWait(self._chrome, SECONDS).until(lambda _: self._chrome.get_cookie("sessionid"))

    def visit(self, path: str) -> None:
        status = "fetch(arguments[0]).then(answer => arguments[1](answer.status))"
        assert self._chrome.execute_async_script(status, path) == 200

    def type(self, script: str) -> None:
        console = "window.lines = []; console.log = (line) => window.lines.push(String(line));"
        ready = "stream.addEventListener('ping', () => arguments[0]())"
        self._chrome.execute_script(console)
        self._chrome.execute_async_script(script.replace("stream =", "window.stream =") + ready)

    def line(self) -> str:
        has_more = "return window.lines.length > arguments[0]"
        WebDriverWait(self._chrome, SECONDS).until(lambda _: self._chrome.execute_script(has_more, self._seen))
        self._seen += 1
        return str(self._chrome.execute_script("return window.lines[arguments[0]]", self._seen - 1))
