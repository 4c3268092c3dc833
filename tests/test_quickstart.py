"""A newcomer does what the pages say, from `startproject` on, with a real server and with a real browser."""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.cookiejar import CookieJar
from itertools import groupby
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.markdown import ROOT, Example, examples, story
from tests.servers.process import Process, free_port
from tests.servers.sse import Cut, Ended, Stream
from tests.servers.valkey import Valkey

README = ROOT / "README.md"
QUICKSTART = ROOT / "docs" / "quickstart.md"
# The port that pages write, and that the tests replace by a free one.
PORT = "8000"
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


class Newcomer:
    """Works in an empty folder, with the programs of the environment that the tests run in."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.site = f"http://127.0.0.1:{self.port}"
        self.place = folder
        self._server: Process | None = None
        self._command = ""
        self._env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "PYTHON", "DJANGO_", "TASKBELL_"))
        }
        self._env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), self._env["PATH"]])
        self._log = folder / "server.log"

    def run(self, commands: str) -> None:
        """Run commands; a `cd` among them holds for what comes later."""
        where = self._log.with_name("where")
        argv = ["bash", "-e", "-c", f'{commands}\npwd > "$0"', str(where)]
        done = subprocess.run(
            argv, cwd=self.place, env=self._env, text=True, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.place = Path(where.read_text().strip())

    def write(self, example: Example) -> None:
        if path := example.value("file"):
            self.put(path, example.text)
        elif path := example.value("append"):
            self.put(path, "\n" + example.text, append=True)

    def put(self, path: str, text: str, *, append: bool = False) -> None:
        (self.place / path).parent.mkdir(parents=True, exist_ok=True)
        with (self.place / path).open("a" if append else "w") as file:
            file.write(text)

    @contextmanager
    def working(self, command: str) -> Iterator[None]:
        """Run a worker that says that it is ready."""
        worker = Process(shlex.split(command), log=self._log.with_name("worker.log"), cwd=self.place, env=self._env)
        worker.wait_until(lambda: " ready." in worker.output(), what="ready")
        try:
            yield
        finally:
            worker.stop()

    def serve(self, command: str) -> None:
        """Start a server and return when it answers."""
        self.stop()
        self._command = command
        # A shell in its place, so that a signal meets the server itself.
        argv = ["bash", "-c", f"exec {command.replace(PORT, str(self.port))}"]
        self._server = Process(argv, log=self._log, cwd=self.place, env=self._env)
        self._server.wait_until(self._answers, what="answering")

    def start_again(self) -> None:
        self.serve(self._command)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.site}/hello/", timeout=1).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        return True


@contextmanager
def newcomer(folder: Path) -> Iterator[Newcomer]:
    one = Newcomer(folder)
    try:
        yield one
    finally:
        one.stop()


def follow(page: Path, newcomer: Newcomer, reader: Reader) -> int:
    """Do everything that a page says; return how many lines the console showed."""
    reader.site = newcomer.site
    lines = 0
    for step in story(page):
        if isinstance(step, str):
            act(step, newcomer, reader)
        elif "run" in step.words:
            newcomer.run(step.text)
        elif "serve" in step.words:
            newcomer.serve(step.text)
        elif "console" in step.words:
            assert reader.line() == step.text.strip()
            lines += 1
        elif step.language == "js":
            reader.type(step.text)
        else:
            newcomer.write(step)
    return lines


def act(prose: str, newcomer: Newcomer, reader: Reader) -> None:
    """Do what stands between the examples: visit links, stop and start the server."""
    for path, command in re.findall(rf"<http://127\.0\.0\.1:{PORT}(/\S*)>|<!-- (stop|start) -->", prose):
        if path == "/admin/":
            reader.sign_in()
        elif path:
            reader.visit(path)
        elif command == "stop":
            newcomer.stop()
        else:
            newcomer.start_again()


def say(newcomer: Newcomer, text: str) -> str:
    payload = json.dumps({"msg": text}, separators=(",", ":"))
    newcomer.run(f"python manage.py taskbell publish --user {USER} message '{payload}'")
    return payload


@pytest.mark.proof
def test_the_quickstart(tmp_path: Path) -> None:
    with newcomer(tmp_path) as one, closing(ByHand()) as reader:
        assert follow(QUICKSTART, one, reader) == 3
        # The page ends with the real gateway, to which the console comes back.
        said = say(one, "From the gateway")
        assert reader.line() == said
        assert documented_headers().items() <= reader.headers.items()


@pytest.mark.browser
def test_the_quickstart_in_a_browser(tmp_path: Path, browser: Chrome) -> None:
    reader = InChromium(browser)
    with newcomer(tmp_path) as one:
        assert follow(QUICKSTART, one, reader) == 3
        said = say(one, "From the gateway")
        assert reader.line() == said


# The project before a line of the README's is in it: what `startproject` and Celery's own first steps leave.
CELERY = {
    "mysite/celery.py": """\
        import os

        from celery import Celery

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
        app = Celery("mysite")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.autodiscover_tasks()
        """,
    "mysite/__init__.py": "from mysite.celery import app\n",
    "mysite/tasks.py": """\
        from celery import shared_task


        @shared_task
        def make_report(pages):
            return pages
        """,
    "mysite/templates/report.html": """\
        <!doctype html><html lang="en"><title>Report</title><link rel="icon" href="data:,">
        {% include "base.html" %}{% load taskbell %}{% taskbell_run result %}</html>
        """,
}
SETTINGS = 'INSTALLED_APPS += ["mysite"]\nCELERY_BROKER_URL = "{broker}"\n'
URLS = """
from django.shortcuts import render
from mysite.tasks import make_report

urlpatterns += [path("report/", lambda request: render(request, "report.html", {"result": make_report.delay(3)}))]
"""


@contextmanager
def celery_project(folder: Path, broker: Valkey, *pages: Path) -> Iterator[Newcomer]:
    """Do what the README says to a project with Celery, and then other pages; yield it with everything running."""
    [migrate], [serve] = (examples(README, "shell", word=word) for word in ("run", "serve"))
    [person] = [one.text for one in examples(QUICKSTART, "shell", word="run") if "createsuperuser" in one.text]
    with newcomer(folder) as one:
        one.run("django-admin startproject mysite\ncd mysite\nmkdir mysite/templates mysite/static")
        for path, text in CELERY.items():
            one.put(path, dedent(text))
        one.put("mysite/settings.py", SETTINGS.format(broker=broker.url), append=True)
        for page in (README, *pages):
            for example in examples(page):
                one.write(example)
        one.put("mysite/urls.py", URLS, append=True)
        one.run(migrate.text)
        one.run(person.splitlines()[-1])
        one.serve(serve.text)
        with one.working("celery -A mysite worker --pool solo --loglevel info"):
            yield one


@pytest.mark.proof
def test_the_lines_of_the_readme(tmp_path: Path, valkey: Valkey) -> None:
    [script] = examples(README, "js")
    with celery_project(tmp_path, valkey) as one, closing(ByHand()) as reader:
        reader.site = one.site
        reader.sign_in()
        reader.type(script.text)
        said = say(one, "Saved")
        assert reader.line() == said
        reader.visit("/report/")
        told = reader.runs()
        assert {(run["name"], run["label"]) for run in told} == {("mysite.tasks.make_report", "Your report")}
        assert [state for state, _ in groupby(run["state"] for run in told)][-2:] == ["running", "succeeded"]
        assert (told[-1]["done"], told[-1]["total"], told[-1]["message"]) == (3, 3, "Writing pages")


@pytest.mark.browser
def test_the_lines_of_the_readme_in_a_browser(tmp_path: Path, valkey: Valkey, browser: Chrome) -> None:
    reader = InChromium(browser)
    with celery_project(tmp_path, valkey) as one:
        reader.site = one.site
        reader.sign_in()
        browser.get(f"{one.site}/report/")
        for element, where, said in (
            ("taskbell-run", "[part=state]", "Finished"),
            ("taskbell-toasts", "[part=title]", "Your report finished"),
        ):
            shadow = browser.find_element(By.TAG_NAME, element).shadow_root
            WebDriverWait(browser, SECONDS).until(
                lambda _, shadow=shadow, where=where, said=said: (
                    [shown.text for shown in shadow.find_elements(By.CSS_SELECTOR, where)] == [said]
                ),
                message=f"{element}: {said}",
            )


def documented_headers() -> dict[str, str]:
    [example] = examples(ROOT / "docs" / "reference" / "wire.md", "http")
    headers = (line.partition(": ") for line in example.text.splitlines())
    return {name.lower(): value for name, _, value in headers}
