"""The door: what it offers, and that looking through it wakes nobody."""

import json
import subprocess
import sys

import pytest

import taskbell
from tests.servers.project import ROOT, environment

#: What people may import from `taskbell`. Adding is easy, taking away never again is.
OFFERED = [
    "PublicError",
    "anotify",
    "apublish",
    "batch",
    "for_user",
    "get_run",
    "notify",
    "progress",
    "publish",
    "publish_many",
    "publish_result",
    "track",
]

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
    from taskbell import exceptions
    from taskbell.inbox import notify
    from taskbell.runs import here, owner, read, scope
    from taskbell.store import outbox

    homes = {
        exceptions: ["PublicError"],
        notify: ["anotify", "notify"],
        here: ["progress", "publish_result", "track"],
        owner: ["for_user"],
        read: ["get_run"],
        scope: ["batch"],
        outbox: ["apublish", "publish", "publish_many"],
    }
    assert sorted(name for names in homes.values() for name in names) == OFFERED
    for home, names in homes.items():
        for name in names:
            assert getattr(taskbell, name) is getattr(home, name)
            assert getattr(taskbell, name).__module__ == home.__name__


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


def test_a_project_that_only_publishes_loads_no_server() -> None:
    loaded = modules_after("import django; django.setup(); from taskbell import publish", settings=True)
    assert not loaded & {"uvicorn", "redis", "psycopg", "httptools", "rq"}
    assert not {name for name in loaded if name.startswith("taskbell.gateway")}


def test_a_project_without_celery_publishes_all_the_same() -> None:
    without = "import sys; sys.modules['celery'] = None; import django; django.setup()"
    loaded = modules_after(f"{without}; from taskbell import *; del sys.modules['celery']", settings=True)
    assert {"taskbell.runs.here", "taskbell.store.outbox"} <= loaded
    assert not {name for name in loaded if name.partition(".")[0] in {"celery", "kombu", "billiard"}}
    assert "taskbell.engines.celery" not in loaded


def test_a_project_with_celery_listens_to_it_at_its_start() -> None:
    pytest.importorskip("celery")
    assert "taskbell.engines.celery" in modules_after("import django; django.setup()", settings=True)
