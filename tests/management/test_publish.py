from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError

from taskbell.models import Outbox
from tests.management.calls import taskbell

pytestmark = pytest.mark.django_db


def test_to_a_channel() -> None:
    assert taskbell("publish", "public:news", "message", '{"a": [1, "é"]}') == (0, "")
    row = Outbox.objects.get()
    assert (row.kind, row.channel, row.user_key) == ("event", "public:news", None)
    assert (row.type, row.payload) == ("message", '{"a":[1,"\\u00e9"]}')


def test_to_a_person() -> None:
    user = get_user_model().objects.create(username="yamkant")
    assert taskbell("publish", "yamkant", "message", "1", "--user") == (0, "")
    row = Outbox.objects.get()
    assert (row.channel, row.user_key) == (None, str(user.pk))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["public:news", "message", "{a: 1}"], "The payload is not JSON: .* Quote it for the shell"),
        (["public:news", "message", ""], "The payload is not JSON"),
        (["public:news", "message", "NaN"], "cannot be written as JSON"),
        (["public:news", "message", "9007199254740993"], "over 2.*53"),
        (["public:news", "message", '"' + "x" * 65_536 + '"'], "the limit is 65,536"),
        (["public:news", "reset", "1"], "Choose another name"),
        (["public:news", "Message", "1"], "is not a type"),
        (["news", "message", "1"], "is not a channel"),
        (["taskbell:control", "message", "1"], "Taskbell's own"),
        (["user:1", "message", "1"], "Taskbell's own"),
        (["nobody", "message", "1", "--user"], "There is no user named 'nobody'"),
        (["\udcff", "message", "1", "--user"], "There is no user named"),
        (["\udcff:a", "message", "1"], "is not a channel"),
    ],
)
def test_a_mistake_is_a_sentence(arguments: list[str], told: Any) -> None:
    with pytest.raises(CommandError, match=told):
        taskbell("publish", *arguments)
    assert not Outbox.objects.exists()


def test_json_that_is_too_deep_is_a_sentence() -> None:
    with pytest.raises(CommandError):
        taskbell("publish", "public:news", "message", "[" * 100_000)
