"""A pair of keys, and what to write."""

import ast
import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from taskbell.inbox.push.config import configured


def printed() -> str:
    out = StringIO()
    call_command("taskbell", "vapid-keys", stdout=out)
    return out.getvalue()


def written(text: str) -> Any:
    [assigned] = ast.parse(text).body
    assert isinstance(assigned, ast.Assign)
    return ast.literal_eval(assigned.value)


def test_what_it_prints_works_as_it_stands() -> None:
    text = printed()
    with override_settings(TASKBELL=written(text)):
        config = configured()
    assert config is not None
    assert f"public key by your pages: {config.public_key}\n" in text
    assert re.fullmatch(r"B[A-Za-z0-9_-]{86}", config.public_key)


def test_each_pair_is_new() -> None:
    assert written(printed()) != written(printed())


def test_it_helps_whoever_has_no_key_yet() -> None:
    """A check refuses other commands until there is one."""
    with override_settings(TASKBELL={"PUSH": {"CONTACT": "mailto:ann@example.com"}}):
        assert "PRIVATE_KEY" in printed()


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.inbox.push.config.find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pip install 'taskbell\[push\]'"):
        printed()
