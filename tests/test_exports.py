"""The door: what it offers, and that looking through it wakes nobody."""

import json
import subprocess
import sys

import pytest

import taskbell
from tests.servers.project import ROOT, environment

#: What people may import from `taskbell`. Adding is easy, taking away never again is.
OFFERED = ["apublish", "publish", "publish_many"]

HEAVY = ["django.db.models", "taskbell.models", "taskbell.store.outbox", "celery", "uvicorn", "redis", "psycopg", "rq"]


def modules_after(program: str, *, settings: bool = False) -> set[str]:
    """Return what a fresh process has imported after `program`."""
    env = environment("/nowhere/db")
    if not settings:
        del env["DJANGO_SETTINGS_MODULE"]
    argv = [sys.executable, "-c", f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"]
    ran = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


def test_what_is_offered() -> None:
    assert sorted(taskbell.__all__) == OFFERED
    assert set(OFFERED) <= set(dir(taskbell))
    assert all(callable(getattr(taskbell, name)) for name in OFFERED)


def test_what_is_offered_is_what_its_home_defines() -> None:
    from taskbell.store import outbox

    assert (taskbell.publish, taskbell.apublish, taskbell.publish_many) == (
        outbox.publish,
        outbox.apublish,
        outbox.publish_many,
    )


def test_a_name_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="module 'taskbell' has no attribute 'publsh'"):
        taskbell.publsh  # noqa: B018


def test_a_star_import_brings_what_is_offered() -> None:
    names: dict[str, object] = {}
    exec("from taskbell import *", names)
    assert set(names) - {"__builtins__"} == set(OFFERED)


def test_importing_it_loads_nothing_and_needs_no_settings() -> None:
    loaded = modules_after("import taskbell, taskbell.conf, taskbell.exceptions")
    assert not loaded & set(HEAVY)
    assert {name for name in loaded if name.startswith("taskbell")} == {
        "taskbell",
        "taskbell.conf",
        "taskbell.exceptions",
    }


def test_the_proof_can_fail() -> None:
    loaded = modules_after("import django; django.setup(); from taskbell import publish", settings=True)
    assert {"taskbell.models", "taskbell.store.outbox"} <= loaded


def test_a_project_that_only_publishes_loads_no_server_and_no_queue() -> None:
    loaded = modules_after("import django; django.setup(); from taskbell import publish", settings=True)
    assert not loaded & {"celery", "uvicorn", "redis", "psycopg", "httptools", "rq"}
    assert not {name for name in loaded if name.startswith("taskbell.gateway")}
