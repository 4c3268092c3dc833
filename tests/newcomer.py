"""A newcomer to Taskbell: works in an empty folder, from `startproject` on, as the pages say."""

import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from tests.markdown import ROOT, Example, examples
from tests.servers.process import Process, free_port
from tests.servers.valkey import Valkey

README = ROOT / "README.md"
QUICKSTART = ROOT / "docs" / "quickstart.md"
# The port that pages write, and that the tests replace by a free one.
PORT = "8000"


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
