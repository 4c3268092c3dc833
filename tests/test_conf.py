"""Settings: typed, documented, read at use."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest
from django.test import override_settings

from taskbell import conf
from taskbell.conf import DEFAULTS, HELP, Settings, current, nearest, resolve, written
from taskbell.wakeups import kind
from tests.servers.project import ROOT, environment

#: As the design fixes them; a change of one is a change of what people rely on.
AGREED = {
    "TASKS": {},
    "OWNER": None,
    "SIGNING_KEY": None,
    "AUTHORIZE": None,
    "AUTHENTICATE": None,
    "WAKEUP": "auto",
    "POLL": 1,
    "EVENT_AGE": 86_400,
    "RUN_AGE": 2_592_000,
    "NOTIFICATION_AGE": 7_776_000,
    "PUSH_AFTER": 10,
    "PUSH": {},
    "LANGUAGE": None,
    "OUTBOX_LIMIT": 1_000_000,
    "LEASE": 30,
    "LATE_AFTER": 60,
    "QUEUE_LIMIT": 86_400,
    "PROGRESS_RATE": 4,
    "ERROR_REFERENCE": None,
    "PING": 20,
    "STREAM_AGE": 1_800,
    "DRAIN": 20,
    "RECHECK": 60,
    "REPLAY_LIMIT": 1_000,
    "STREAMS_PER_PERSON": 10,
    "STREAMS_PER_ADDRESS": 200,
    "STREAMS_PER_PROCESS": 20_000,
    "CHANNELS_PER_STREAM": 100,
    "STALLED": 30,
    "HEADER_BYTES": 16_384,
    "HEADER_TIME": 10,
}


def test_defaults_are_what_was_agreed() -> None:
    assert {name: DEFAULTS[name] for name in AGREED} == AGREED


def test_there_is_no_key_beyond_the_agreed_ones() -> None:
    assert set(DEFAULTS) == set(AGREED) | {"WINDOW_BYTES", "TRUSTED_PROXIES"}


@pytest.mark.parametrize("name", HELP)
def test_every_key_says_in_one_sentence_what_it_is_for(name: str) -> None:
    assert name == name.upper()
    text = HELP[name]
    assert text.endswith(".")
    assert 20 < len(text) <= 120
    assert "\n" not in text


def test_names_and_help_cover_every_field() -> None:
    assert list(DEFAULTS) == list(HELP) == [field.name for field in fields(Settings)]


def test_a_project_without_a_word_gets_the_defaults() -> None:
    with override_settings():
        from django.conf import settings

        del settings.TASKBELL
        conf.current.cache_clear()
        assert current() == Settings()


def test_they_are_read_at_use() -> None:
    assert current().PING == 20
    with override_settings(TASKBELL={"PING": 7}):
        assert current().PING == 7
        assert current().POLL == 1
        with override_settings(TASKBELL={"POLL": 3}):
            assert (current().PING, current().POLL) == (20, 3)
        assert current().PING == 7
    assert current().PING == 20


def test_other_parts_see_an_override_at_once() -> None:
    with override_settings(TASKBELL={"WAKEUP": "poll"}):
        assert kind("default") == "poll"
    assert kind("default") == "sqlite"


def test_they_are_read_once_and_not_at_every_use() -> None:
    with override_settings(TASKBELL={"PING": 7}):
        assert current() is current()


def test_an_unknown_key_breaks_nothing_but_the_check() -> None:
    with override_settings(TASKBELL={"PNG": 7, 5: 5}):
        assert current() == Settings()


@pytest.mark.parametrize("value", [None, [], "PING", 5, [("PING", 5)]])
def test_what_is_no_dict_breaks_nothing_but_the_check(value: Any) -> None:
    with override_settings(TASKBELL=value):
        assert written() == {}
        assert current() == Settings()


def test_nobody_changes_them_by_accident() -> None:
    with pytest.raises(AttributeError):
        current().PING = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("PNG", "PING"),
        ("ping", "PING"),
        ("STREAM_PER_PERSON", "STREAMS_PER_PERSON"),
        ("STREAMS_PER_PROC", "STREAMS_PER_PROCESS"),
        ("WAKE_UP", "WAKEUP"),
        ("AUTHORISE", "AUTHORIZE"),
        ("XYZZY", None),
        ("", None),
    ],
)
def test_the_nearest_name(key: str, meant: str | None) -> None:
    assert nearest(key) == meant


def test_hooks_are_callables_or_their_paths() -> None:
    assert resolve(None) is None
    assert resolve(len) is len
    assert resolve("taskbell.conf.resolve") is resolve
    with pytest.raises(ImportError):
        resolve("taskbell.conf.nothing")


def test_importing_them_reads_nothing() -> None:
    program = "import taskbell.conf; from django.conf import settings; print(settings.configured)"
    env = {name: value for name, value in environment("x").items() if name != "DJANGO_SETTINGS_MODULE"}
    ran = subprocess.run([sys.executable, "-c", program], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
