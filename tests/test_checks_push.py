"""The checks of the setting `PUSH`, and what of it is used and shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.test import override_settings

from taskbell import conf
from taskbell.inbox.push.config import configured
from tests.checking import found

PUSH = {"PRIVATE_KEY": "LW8rnYpZ1V3Jx5fGcYwJ3mO2z0m5oQn5u0n1m7cW2ZQ", "CONTACT": "mailto:ann@example.com"}


@pytest.fixture
def api() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.browser.urls"):
        yield


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"PRIVATE_KEY": None}, "wants a 'PRIVATE_KEY'"),
        ({"PRIVATE_KEY": ""}, "wants a 'PRIVATE_KEY'"),
        ({"PRIVATE_KEY": b"x"}, "wants a 'PRIVATE_KEY'"),
        ({"PRIVATE_KEY": "secret"}, "has a 'PRIVATE_KEY' that is none"),
        ({"PRIVATE_KEY": "A" * 43}, "has a 'PRIVATE_KEY' that is none"),  # zero
        ({"PRIVATE_KEY": "_" * 42 + "8"}, "has a 'PRIVATE_KEY' that is none"),  # over the curve's order
        ({"PRIVATE_KEY": "/nowhere/secret"}, "cannot be read: No such file or directory"),
        ({"PRIVATE_KEY": "/dev/zero"}, "has a 'PRIVATE_KEY' that is none"),
        ({"CONTACT": None}, "wants a 'CONTACT'"),
        ({"CONTACT": "ann@example.com"}, "wants a 'CONTACT'"),
        ({"CONTACT": "mailto:ann@localhost"}, "wants a 'CONTACT'"),
        ({"CONTACT": "https://example.com/contact"}, "wants a 'CONTACT'"),
        ({"HOSTS": "push.example.com"}, "wants 'HOSTS' to be a list"),
        ({"HOSTS": ["127.0.0.1"]}, "wants 'HOSTS' to be a list"),
        ({"HOSTS": ["https://push.example.com/"]}, "wants 'HOSTS' to be a list"),
        ({"PRIVAT_KEY": "x"}, "has no key 'PRIVAT_KEY'"),
    ],
)
def test_e020_web_push_that_cannot_be_sent(changes: dict[str, Any], told: str) -> None:
    with override_settings(TASKBELL={"PUSH": PUSH | changes}):
        message = found()["taskbell.E020"]
        assert configured() is None
    assert isinstance(message, checks.Error)
    assert told in message.msg
    assert "vapid-keys" in (message.hint or "")
    assert "secret" not in message.msg
    assert PUSH["PRIVATE_KEY"] not in str(message)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "changes",
    [{}, {"CONTACT": "https://example.com"}, {"HOSTS": []}, {"HOSTS": ("push.example.com", "*.push.example.com")}],
)
def test_e020_is_silent_about_what_can(changes: dict[str, Any]) -> None:
    with override_settings(TASKBELL={"PUSH": PUSH | changes}):
        assert found() == {}
        assert configured() is not None


@pytest.mark.usefixtures("api")
def test_a_key_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "vapid"
    file.write_text(PUSH["PRIVATE_KEY"] + "\n")
    with override_settings(TASKBELL={"PUSH": PUSH | {"PRIVATE_KEY": str(file)}}):
        assert found() == {}
        config = configured()
    with override_settings(TASKBELL={"PUSH": PUSH}):
        assert configured() == config
    assert PUSH["PRIVATE_KEY"] not in repr(config)


@pytest.mark.parametrize("value", [PUSH, None, [], "x", 5, {5: 5}])
def test_no_text_of_the_settings_shows_a_secret(value: Any) -> None:
    with override_settings(TASKBELL={"PUSH": value, "SIGNING_KEY": "the signing key"}):
        assert PUSH["PRIVATE_KEY"] not in repr(conf.current())
        assert "the signing key" not in repr(conf.current())
        assert PUSH["PRIVATE_KEY"] not in str(found())


@pytest.mark.usefixtures("api")
def test_e021_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.inbox.push.config.find_spec", lambda name: None)
    with override_settings(TASKBELL={"PUSH": PUSH}):
        message = found()["taskbell.E021"]
        assert configured() is None
    assert message.hint == "pip install 'taskbell[push]'"


def test_w022_no_address_to_subscribe_at() -> None:
    with override_settings(TASKBELL={"PUSH": PUSH}, ROOT_URLCONF="tests.urls"):
        assert 'path("taskbell/", include("taskbell.urls.api"))' in (found()["taskbell.W022"].hint or "")
    with override_settings(TASKBELL={}, ROOT_URLCONF="tests.urls"):
        assert "taskbell.W022" not in found()
