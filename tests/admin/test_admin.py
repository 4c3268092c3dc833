"""Django's admin shows runs, notifications, log, outbox and workers to staff, changes nothing, and is live."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from taskbell import publish
from taskbell.models import Log, Notification, Outbox, Recipient, Run, Worker
from taskbell.store.outbox import key_of
from tests.servers.project import ROOT, Gateway, Project
from tests.store.test_erase import run_of, tell_of

PAGES: Final = ("run", "notification", "log", "outbox", "worker")
SECRET: Final = "zanzibar"
WAIT: Final = 30


class Site:
    """The project with the admin in a gateway of its own process, and a browser."""

    def __init__(self, project: Project, browser: Chrome, folder: Path) -> None:
        self.project = project
        self.browser = browser
        self.folder = folder
        project.env["DJANGO_SETTINGS_MODULE"] = "tests.admin.settings"
        done = project.run("migrate", "--verbosity=0")
        assert done.returncode == 0, done.stderr
        self.gateway: Gateway = project.uvicorn("--http", "taskbell.gateway.server:StreamProtocol")

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def sign_in(self, user: User) -> None:
        name, value = self.project.sign_in(user).split("=", 1)
        self.browser.get(f"{self.origin}/static/admin/css/base.css")
        self.browser.delete_all_cookies()
        self.browser.add_cookie({"name": name, "value": value, "httpOnly": True})

    def open(self, page: str) -> str:
        self.browser.get(f"{self.origin}/admin/taskbell/{page}")
        return self.text

    @property
    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))

    def until(self, true: Callable[[], Any], what: str) -> None:
        WebDriverWait(self.browser, WAIT, 0.1).until(lambda _: true(), what)

    def picture(self, name: str) -> None:
        folder = Path(os.environ.get("TASKBELL_PICTURES") or self.folder)
        self.browser.save_screenshot(str(folder / f"admin-{name}.png"))


def staff(name: str, *permissions: str) -> User:
    user = User.objects.create(username=name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def site(project: Callable[[str], Project], browser: Chrome, tmp_path: Path) -> Iterator[Site]:
    site = Site(project("sqlite"), browser, tmp_path)
    yield site
    browser.get("about:blank")


def fill(person: User) -> Any:
    worker = Worker.objects.create(id=uuid4(), name="celery@wolke")
    done, under_way = run_of(person, name="t.report", label="Your report"), run_of(person, name="t", label="Resizing")
    for identity in (done, under_way):
        tell_of(identity, "queued")
        tell_of(identity, "started", worker=str(worker.id))
    tell_of(done, "succeeded", result=SECRET)
    tell_of(under_way, "progress", done=3.0, total=10.0, message=SECRET)
    publish(person, "message", SECRET)
    Outbox.objects.create(
        kind="mystery", type="x", payload=f'"{SECRET}"', user_key=key_of(person), failed_at=timezone.now()
    )
    return under_way


def wait_for(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.browser
def test_every_page_and_who_sees_what(site: Site) -> None:
    ann = site.project.person("ann")
    identity = fill(ann)
    wait_for(lambda: Run.objects.filter(id=identity.run, done=3).exists())
    recipient = Recipient.objects.get().id
    note = Notification.objects.create(
        recipient=recipient, title=SECRET, body=SECRET, run=identity.run, created_at=timezone.now(), level="success"
    )
    site.sign_in(staff("looks", *(f"view_{page}" for page in PAGES)))
    site.browser.set_window_size(1200, 700)
    for page in PAGES:
        assert SECRET not in site.open(f"{page}/"), page
        site.picture(page)
        assert site.browser.find_elements(By.CSS_SELECTOR, "#result_list tbody tr"), page
        assert not site.browser.find_elements(By.CSS_SELECTOR, ".object-tools .addlink, .action-select"), page
    assert "Your report" not in site.open("run/"), "it has ended"
    assert "ann" in site.text
    assert "Your report" in site.open("run/?state=succeeded")
    for query in (identity.task_id, identity.run, "ann", key_of(ann), "resiz"):
        assert "Resizing" in site.open(f"run/?q={query}"), query
    assert SECRET not in site.open(f"run/{identity.run}/change/")
    assert "celery@wolke" in site.text
    assert "success" in site.text, "its notification"
    site.picture("one-run")
    assert SECRET not in site.open(f"notification/{note.id}/change/")
    assert SECRET not in site.open(f"log/{Log.objects.latest('seq').seq}/change/")
    assert "403" in site.open("run/add/")
    site.sign_in(staff("reads", "view_run", "view_notification", "view_content"))
    assert SECRET in site.open(f"run/{identity.run}/change/")
    assert SECRET in site.open("notification/")
    assert "403" in site.open("log/")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    site.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    site.open("run/?q=ann")
    site.picture("dark")


@pytest.mark.browser
def test_an_open_page_follows(site: Site) -> None:
    ann = site.project.person("ann")
    site.sign_in(staff("looks", "view_run"))
    assert "0 runs" in site.open("run/")
    identity = run_of(ann, label="Your report")
    tell_of(identity, "queued")
    site.until(lambda: "Your report" in site.text, "the new run is there")
    tell_of(identity, "started")
    site.until(lambda: "running" in site.browser.find_element(By.ID, "changelist-form").text, "and runs")
    site.open(f"run/{identity.run}/change/")
    tell_of(identity, "succeeded")
    site.until(lambda: "succeeded" in site.text, "its own page follows too")
    entries = site.browser.get_log("browser")  # type: ignore[no-untyped-call]
    assert [entry["message"] for entry in entries if entry["level"] == "SEVERE" and "favicon" not in str(entry)] == []


@pytest.mark.proof
def test_only_staff_with_a_view_hear_that_something_happens(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    gateway = one.serve()
    path = "/events/?channel=taskbell:activity"
    looks = staff("looks", "view_run")
    for user in (one.person("anybody"), staff("nothing")):
        with gateway.stream(path, cookie=one.sign_in(user)) as stream:
            assert stream.status == 404
    with gateway.stream(path) as stream:
        assert stream.status == 404
    with gateway.stream(path, cookie=one.sign_in(looks)) as stream:
        stream.until("ping")
        publish("public:news", "message", SECRET)
        told = stream.until("activity")
        assert told[-1].data == "{}"
        assert SECRET not in str(told)
        publish("public:news", "message", 2)
        stream.until("activity")
        looks.user_permissions.clear()
        assert [event.type for event in stream.rest() if event.type == "bye"] == ["bye"]
    assert set(Log.objects.values_list("channel", flat=True)) <= {"public:news", "taskbell:control"}


QUERIES: Final = """
import django; django.setup()
from uuid import uuid4
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from taskbell.models import Log, Notification, Outbox, Recipient, Run, Worker
root = User.objects.create(username="root", is_staff=True, is_superuser=True)
client = Client(); client.force_login(root)
counts = {}
for round, most in enumerate((2, 40)):
    for number in range(most):
        user = User.objects.create(username=f"{round} {number}")
        recipient, now = Recipient.objects.create(user_key=str(user.pk)), timezone.now()
        worker = Worker.objects.create(id=uuid4(), name=f"worker {number}")
        run = Run.objects.create(engine="t", task_id=str(uuid4()), name="n", label="l", recipient=recipient.id,
            state="running", queued_at=now, since=now, worker=worker.id)
        Notification.objects.create(recipient=recipient.id, title="t", created_at=now, run=run.id)
        Log.objects.create(seq=round * 100 + number + 1, nonce="n", channel=recipient.channel, type="run", payload="{}")
        Outbox.objects.create(kind="mystery", type="x", payload="{}", user_key=str(user.pk), run_key=str(run.id))
    for page in ("run", "notification", "log", "outbox", "worker"):
        client.get(f"/admin/taskbell/{page}/")
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"/admin/taskbell/{page}/").status_code == 200
        counts.setdefault(page, []).append(len(queries))
        counted = [query["sql"] for query in queries if "COUNT(" in query["sql"] and "GROUP BY" not in query["sql"]]
        assert all("LIMIT" in sql for sql in counted), counted
print(counts)
assert all(few == many for few, many in counts.values()), counts
"""


@pytest.mark.proof
def test_a_page_costs_the_same_queries_however_many_rows_and_counts_no_table(
    project: Callable[[str], Project],
) -> None:
    one = project("sqlite")
    one.env["DJANGO_SETTINGS_MODULE"] = "tests.admin.settings"
    assert one.run("migrate", "--verbosity=0").returncode == 0
    ended = subprocess.run(
        [sys.executable, "-c", QUERIES], env=one.env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
