"""Whose a task is, whoever published it: by real requests to a whole site, by workers, beat and shells."""

import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from taskbell.models import Recipient, Run
from taskbell.runs.states import ENDINGS
from tests.engines.conftest import LEASE
from tests.engines.site.canvases import CANVASES
from tests.engines.tasks import LISTED
from tests.engines.worker import Owner, Worker, wait_for
from tests.servers.project import Project, Templates

pytestmark = pytest.mark.proof


class Site:
    """A site with its own server, streams included, a worker, and two people who have signed in."""

    def __init__(self, project: Project, broker: str, results: str, queue: str) -> None:
        project.configure(TASKS=LISTED, LEASE=LEASE)
        project.env |= {
            "DJANGO_SETTINGS_MODULE": "tests.engines.site.settings",
            "TASKBELL_TEST_BROKER": broker,
            "TASKBELL_TEST_RESULTS": results,
            "TASKBELL_TEST_QUEUE": queue,
        }
        assert project.run("migrate", "--verbosity=0").returncode == 0
        self.project = project
        self.server = project.uvicorn("--http", "taskbell.gateway.server:StreamProtocol")
        self.worker = Worker(project, concurrency=3, queues=queue)
        self.ada, self.bob = Owner(project, self.server), Owner(project, self.server, "bob")
        self.cookie = project.sign_in(self.ada.user)

    def ask(self, path: str, **headers: str) -> str:
        """Send a request of Ada's browser, and return the id of the task that the view is after."""
        headers = headers or {"Cookie": self.cookie}
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(json.load(response)["task"])

    def close(self) -> None:
        self.ada.close()
        self.bob.close()
        self.worker.kill()


def tree_of(owner: Owner, task: str) -> dict[str, Any]:
    """Wait for the end of the tree that a task is a step of, and return its last event."""
    step = owner.find(lambda run: run["task_id"] == task and run["step"] is not None)
    return owner.find(lambda run: run["id"] == step["parent"] and run["state"] in ENDINGS)


@contextmanager
def a_site(templates: Templates, folder: Path, broker: str, results: str = "", queue: str = "celery") -> Iterator[Site]:
    """At its end, every run has been Ada's, and told as ended once."""
    project = Project(folder, templates.copy("postgres", folder))
    project.attach()
    try:
        site = Site(project, broker, results, queue)
        yield site
        site.close()
        assert {run: endings for run, endings in site.ada.endings().items() if len(endings) != 1} == {}
        assert site.bob.all_events() == {}
        ada = Recipient.objects.get(user_key=str(site.ada.user.pk))
        assert not Run.objects.exclude(recipient=ada.id).exists()
        assert not Run.objects.filter(name__startswith="celery.").exists()
    finally:
        project.remove()
        templates.drop(project.address)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, django_db_blocker: DjangoDbBlocker, broker: str
) -> Iterator[Site]:
    with django_db_blocker.unblock(), a_site(templates, tmp_path_factory.mktemp("site"), broker) as site:
        yield site


@pytest.mark.parametrize("name", CANVASES)
def test_whatever_the_way_it_is_hers(site: Site, name: str) -> None:
    assert site.ada.ending(site.ask(f"/enqueue/{quote(name)}/"))["state"] == "succeeded"


@pytest.mark.parametrize("results", ["rows", "files"])
def test_a_chord_is_hers_wherever_its_results_are(
    tmp_path: Path, templates: Templates, django_db_blocker: DjangoDbBlocker, broker: str, results: str
) -> None:
    """Files cannot count, nor can the tables of SQLAlchemy; so the view publishes a task that waits for the others."""
    addresses = {"rows": "django-db", "files": f"file://{tmp_path}"}
    with django_db_blocker.unblock(), a_site(templates, tmp_path, broker, addresses[results], results) as site:
        ends = {name: site.ask(f"/enqueue/{quote(name)}/") for name in CANVASES if "chord" in name}
        assert {name: site.ada.ending(end)["state"] for name, end in ends.items()} == dict.fromkeys(ends, "succeeded")
        assert ("celery.chord_unlock" in site.worker.output()) == (results == "files")
        tree = tree_of(site.ada, ends["chord"])
        assert [step["label"] for step in tree["steps"]["list"]] == ["Succeed", "Spawned", "End"]
        assert (tree["state"], tree["steps"]["succeeded"], tree["total"]) == ("succeeded", 3, 3)
        # The task that waits for the others is no step, and the body that it publishes has the place kept for it.
        body = site.ada.by_run()[tree["steps"]["list"][-1]["id"]]
        assert {run["task_id"] for run in body} == {ends["chord"]}


@pytest.mark.parametrize("name", ["on_commit", "apply_async_on_commit", "delay_on_commit"])
def test_what_is_enqueued_at_the_commit_is_hers(site: Site, name: str) -> None:
    """The id is given beforehand, because these return none."""
    assert site.ada.ending(site.ask(f"/commit/{name}/"))["state"] == "succeeded"


def test_after_a_rollback_the_run_appears_when_a_worker_starts_it(site: Site) -> None:
    end = site.ask("/rolled-back/")
    assert site.ada.ending(end)["state"] == "succeeded"
    assert site.ada.events(end)[0]["state"] == "running"


def test_after_a_view_that_fails_too(site: Site) -> None:
    id = str(uuid.uuid4())
    with pytest.raises(urllib.error.HTTPError, match="500"):
        site.ask(f"/failing/?id={id}")
    assert site.ada.ending(id)["state"] == "succeeded"
    assert site.ada.events(id)[0]["state"] == "running"


def test_whom_a_token_names_is_the_owner(site: Site) -> None:
    """Django REST framework sets the user in the view, when the middleware has long been passed."""
    key = "adas"
    with connection.cursor() as cursor:
        sql = "insert into authtoken_token (key, created, user_id) values (%s, now(), %s) on conflict do nothing"
        cursor.execute(sql, [key, site.ada.user.pk])
    end = site.ask("/token/", Authorization=f"Token {key}")
    assert site.ada.ending(end)["state"] == "succeeded"


@pytest.mark.parametrize("path", ["/async/", "/async-to-sync/", "/async-unlisted/"])
def test_async_views(site: Site, path: str) -> None:
    assert site.ada.ending(site.ask(path))["state"] == "succeeded"


def test_a_batch_in_an_async_view_is_one_run(site: Site) -> None:
    tree = tree_of(site.ada, site.ask("/async-batch/"))
    assert (tree["label"], tree["state"]) == ("Import 42", "succeeded")
    assert (tree["steps"]["succeeded"], tree["total"], len(tree["steps"]["list"])) == (6, 6, 6)


@pytest.mark.parametrize("name", ["task", "chain that begins unlisted", "chord of unlisted tasks"])
def test_a_view_need_not_look_at_its_user(site: Site, name: str) -> None:
    assert site.ada.ending(site.ask(f"/without-looking/{quote(name)}/"))["state"] == "succeeded"


def test_what_an_unlisted_task_enqueues_is_nobodys_if_the_view_did_not_look(site: Site) -> None:
    """To look would load a session and a user, and make the answer vary by cookie, for a task that nobody is shown."""
    end = site.ask(f"/without-looking/{quote('task of an unlisted task')}/")
    wait_for(lambda: site.worker.has_run(end), what="run")
    assert not Run.objects.filter(task_id=end).exists()
    assert site.ada.events(end) == []


def test_a_visitor_who_has_not_signed_in_owns_nothing(site: Site) -> None:
    end = site.ask("/without-looking/task/", Cookie="")
    wait_for(lambda: site.worker.has_run(end), what="run")
    assert not Run.objects.filter(task_id=end).exists()


def test_in_a_shell_it_is_who_is_named(site: Site) -> None:
    lines = [
        "from django.contrib.auth.models import User",
        "from taskbell import for_user",
        "from tests.engines.tasks import end",
        "nobodys = end.delay()",
        "with for_user(User.objects.get(username='ada')): hers = end.delay()",
        "print(nobodys, hers)",
    ]
    done = site.project.run("shell", "--no-imports", "-c", "\n".join(lines))
    nobodys, hers = done.stdout.split()
    assert site.ada.ending(hers)["state"] == "succeeded"
    wait_for(lambda: site.worker.has_run(nobodys), what="run")
    assert not Run.objects.filter(task_id=nobodys).exists()


def test_beat_works_for_nobody_and_its_tasks_for_whom_they_name(site: Site) -> None:
    beat = site.project.python(
        "-m", "celery", "-A", "tests.engines.project", "beat", "--schedule", "beat", "--loglevel", "INFO"
    )
    try:
        told = site.ada.find(lambda run: run["name"].endswith(".labelled") and run["state"] == "succeeded")
        assert told["parent"] is None
        wait_for(lambda: "tests.engines.tasks.succeed" in beat.output(), what="due")
    finally:
        beat.kill()
    [nobodys, *_] = re.findall(r"tests.engines.tasks.succeed\[(\S+)\] succeeded", site.worker.output())
    wait_for(lambda: site.worker.has_run(nobodys), what="run")
