"""The checks of the dict `TASKBELL`: a value that is none, a key that is unknown, a hook that cannot be called."""

from typing import Any

import pytest
from django.core import checks
from django.test import override_settings

from taskbell import conf
from taskbell.checks import KINDS, MAY_BE_ZERO
from tests.checking import found


def hook(*args: Any) -> bool:
    return True


@pytest.mark.parametrize("value", [None, [], "PING=5", ("PING", 5), 5])
def test_e003_taskbell_is_no_dict(value: Any) -> None:
    with override_settings(TASKBELL=value):
        assert set(found()) == {"taskbell.E003"}


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("STREAM_PER_PERSON", "'STREAMS_PER_PERSON'"),
        ("ping", "'PING'"),
        ("XYZZY", "The keys are TASKS"),
        (7, "The keys are TASKS"),
    ],
)
def test_e004_unknown_key(key: Any, hint: str) -> None:
    with override_settings(TASKBELL={key: 1}):
        message = found()["taskbell.E004"]
    assert isinstance(message, checks.Error)
    assert hint in (message.hint or "")


NUMBERS = [name for name, kinds in KINDS.items() if kinds == (int,)]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["20", 20.0, None, True, [20]])
def test_e005_a_number_is_whole(key: str, value: Any) -> None:
    with override_settings(TASKBELL={key: value}):
        message = found(deploy=True)["taskbell.E005"]
    assert message.msg.startswith(f"TASKBELL['{key}'] is ")
    assert message.msg.endswith(", not a whole number.")
    assert message.hint == conf.HELP[key]


@pytest.mark.parametrize("key", NUMBERS)
def test_e005_a_number_is_not_negative_and_rarely_zero(key: str) -> None:
    with override_settings(TASKBELL={key: -1}):
        assert "taskbell.E005" in found()
    with override_settings(TASKBELL={key: 0}):
        assert ("taskbell.E005" in found()) is (key not in MAY_BE_ZERO)
    with override_settings(TASKBELL={key: conf.DEFAULTS[key] + 1}):
        assert found() == {}


@pytest.mark.parametrize("key", ["AUTHORIZE", "AUTHENTICATE"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (5, "is a whole number, not a callable or a string or None"),
        ("no.such.module", "names nothing that can be imported: No module named 'no'"),
        ("tests.test_checks_settings.nothing", "does not define"),
        ("rules", "names nothing that can be imported"),
        ("tests.test_checks_settings.NUMBERS", "which cannot be called"),
    ],
)
def test_e005_a_hook_can_be_called(key: str, value: Any, told: str) -> None:
    with override_settings(TASKBELL={key: value}):
        assert told in found()["taskbell.E005"].msg


@pytest.mark.parametrize("key", ["AUTHORIZE", "AUTHENTICATE"])
@pytest.mark.parametrize("value", [None, hook, "tests.test_checks_settings.hook"])
def test_e005_is_silent_about_a_hook_that_can(key: str, value: Any) -> None:
    with override_settings(TASKBELL={key: value}):
        assert found() == {}


@pytest.mark.parametrize("value", ["10.0.0.1", ["10.0.0.300"], ["proxy.internal"], [5], [None]])
def test_e005_proxies_are_a_list_of_networks(value: Any) -> None:
    with override_settings(TASKBELL={"TRUSTED_PROXIES": value}):
        assert "taskbell.E005" in found()


@pytest.mark.parametrize("value", [[], ("10.0.0.1",), ["10.0.0.0/8", "::1", "10.1.2.3/8"]])
def test_e005_is_silent_about_networks(value: Any) -> None:
    with override_settings(TASKBELL={"TRUSTED_PROXIES": value}):
        assert found() == {}


@pytest.mark.parametrize("seconds", [1, 4, 46, 3600])
def test_w006_pings_that_help_nobody(seconds: int) -> None:
    with override_settings(TASKBELL={"PING": seconds}):
        message = found()["taskbell.W006"]
    assert isinstance(message, checks.Warning)


@pytest.mark.parametrize("seconds", [5, 20, 45])
def test_w006_is_silent_about_the_rest(seconds: int) -> None:
    with override_settings(TASKBELL={"PING": seconds}):
        assert found() == {}


def test_all_mistakes_are_told_at_once() -> None:
    with override_settings(TASKBELL={"PNG": 5, "POLL": 0, "PING": 60, "WAKEUP": "carrier pigeon"}):
        assert set(found()) == {"taskbell.E004", "taskbell.E005", "taskbell.W006", "taskbell.E010"}
