import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from taskbell import publish
from taskbell.models import LogHead, Outbox
from tests.management.calls import number, say, taskbell
from tests.servers.project import Project

pytestmark = pytest.mark.django_db(transaction=True)


def test_before_the_first_gateway() -> None:
    status, out = taskbell("status")
    assert status == 0
    assert out == "head    none yet: the first gateway creates it\nlog     0 rows\noutbox  0 rows wait\n"


def test_where_everything_stands() -> None:
    say(1, 2, 3)
    publish("public:news", "message", 4)
    Outbox.objects.update(created_at=timezone.now() - timedelta(seconds=90))
    publish("public:news", "message", 5)
    head = LogHead.objects.get()
    status, out = taskbell("status")
    assert status == 0
    assert out.splitlines()[:2] == [f"head    3 of log {head.log_id}, replayable from 1", "log     3 rows"]
    assert out.splitlines()[2].startswith("outbox  2 rows wait, the oldest for 90.")


def test_as_json() -> None:
    say(1, 2, 3)
    LogHead.objects.update(floor=2)
    publish("public:news", "message", 4)
    status, out = taskbell("status", "--json")
    told = json.loads(out)
    assert status == 0
    assert 0 <= told.pop("oldest_seconds") < 10
    assert told == {
        "log_id": LogHead.objects.get().log_id,
        "head": 3,
        "floor": 2,
        "log": 3,
        "outbox": 1,
        "failed": {},
        "forgetting": 0,
        "outbox_limit": 1_000_000,
        "over_outbox_limit": False,
    }


@override_settings(TASKBELL={"OUTBOX_LIMIT": 2})
@pytest.mark.parametrize(("rows", "expected"), [(2, 0), (3, 1)])
def test_over_the_limit_it_says_so_and_fails(rows: int, expected: int) -> None:
    for payload in range(rows):
        publish("public:news", "message", payload)
    status, out = taskbell("status")
    assert status == expected
    assert ("OVER OUTBOX_LIMIT: 3 rows wait, 2 are allowed" in out) is bool(expected)
    status, out = taskbell("status", "--json")
    assert status == expected
    assert json.loads(out)["over_outbox_limit"] is bool(expected)


@override_settings(TASKBELL={"OUTBOX_LIMIT": 1})
def test_rows_set_aside_are_told_by_kind_and_do_not_wait() -> None:
    for kind in ("mystery", "mystery", "riddle"):
        Outbox.objects.create(kind=kind, type="x", payload="{}")
    number()
    status, out = taskbell("status")
    assert status == 0
    assert "outbox  0 rows wait\n" in out
    assert "failed  2 rows of kind mystery" in out
    assert "failed  1 rows of kind riddle" in out
    assert json.loads(taskbell("status", "--json")[1])["failed"] == {"mystery": 2, "riddle": 1}


def test_a_writer_whose_clock_is_ahead() -> None:
    publish("public:news", "message", 1)
    Outbox.objects.update(created_at=timezone.now() + timedelta(hours=1))
    assert "the oldest for 0.0 s" in taskbell("status")[1]


@pytest.mark.proof
def test_the_exit_status_is_the_processes(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    one.configure(OUTBOX_LIMIT=1)
    assert one.run("taskbell", "status").returncode == 0
    for payload in range(2):
        publish("public:news", "message", payload)
    assert one.run("taskbell", "status").returncode == 1
