"""Values that may be published, and a clear error for all others, before any SQL: no test here may touch a database."""

import datetime
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.utils.functional import lazystr
from hypothesis import example, given
from hypothesis import strategies as st

import taskbell
from taskbell.exceptions import InvalidChannel, InvalidEvent, InvalidPayload, InvalidType, PayloadTooLarge
from taskbell.ground.cursor import Cursor
from taskbell.ground.events import PAYLOAD_BYTES, check_channel, check_type, encode_payload, is_channel, namespace
from taskbell.ground.sse import frame
from tests.ground import bad
from tests.servers.sse import Parser

SAFE = 2**53 - 1
TEXT = st.text(st.characters())  # with surrogates, controls and everything else
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
POISON = "\n\nevent: bye\ndata: {}\r\rid: 9\r\n\0\x85\u2028\u2029\x0b\x0c\x1c\x1e\ufeff\ud800</script><img onerror=x>"


@contextmanager
def refusal(wanted: type[InvalidEvent]) -> Iterator[None]:
    """Expect an error that a person can read: of this very class, on one short printable line."""
    with pytest.raises(wanted) as caught:
        yield
    assert caught.type is wanted
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).isprintable()
    assert 20 < len(str(caught.value)) < 300


@given(JSON)
@example(POISON)
@example({POISON: [POISON], "__proto__": {"": None}, "javascript:alert(1)": "javascript:alert(1)"})
@example([SAFE, -SAFE, -0.0, 0.1, 5e-324, 1.7976931348623157e308, 1e22])
def test_every_payload_comes_back_exactly(payload: Any) -> None:
    place = Cursor("k3f9", 1043, "x7Qa")
    [event] = Parser().feed(frame(place, "message", encode_payload(payload)))
    assert (event.type, event.id) == ("message", str(place))
    # As text, where -0.0 is not 0 and 1 is neither 1.0 nor true.
    assert json.dumps(event.json) == json.dumps(payload)


@given(JSON)
@example(POISON)
def test_a_payload_is_one_line_of_ascii(payload: Any) -> None:
    text = encode_payload(payload)
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert text.isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.UTC), "2026-01-02T03:04:05.678Z"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4, 5), "03:04:05"),
        (datetime.timedelta(minutes=1), "P0DT00H01M00S"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Decimal("0.10"), "0.10"),
        (lazystr("사진"), "사진"),
    ],
    ids=lambda value: value.__class__.__name__,
)
def test_values_of_django_become_text(value: Any, text: str) -> None:
    assert json.loads(encode_payload({"value": value})) == {"value": text}


def test_a_payload_of_exactly_64_kib_passes() -> None:
    assert len(encode_payload("x" * (PAYLOAD_BYTES - 2))) == PAYLOAD_BYTES == 65_536


@bad.payloads
def test_a_bad_payload_is_refused(payload: Any) -> None:
    with refusal(InvalidPayload):
        encode_payload(payload)


@bad.too_large
def test_a_large_payload_is_refused(payload: Any) -> None:
    with refusal(PayloadTooLarge):
        encode_payload(payload)


@bad.channels
def test_a_bad_channel_is_refused(channel: Any) -> None:
    with refusal(InvalidChannel):
        check_channel(channel)


@bad.types
def test_a_bad_type_is_refused(type: Any) -> None:
    with refusal(InvalidType):
        check_type(type)


@pytest.mark.parametrize(
    "publish",
    [
        pytest.param(taskbell.publish, id="publish"),
        pytest.param(
            lambda *event: taskbell.publish_many([("public:good", "message", {}), event]),
            id="publish_many, behind a good one",
        ),
    ],
)
class TestPublish:
    """The same through the door. Without the mark `django_db` the first statement would fail the test."""

    @bad.channels
    def test_refuses_a_bad_channel(self, publish: Callable[..., None], channel: Any) -> None:
        with refusal(InvalidChannel):
            publish(channel, "message", {})

    @bad.types
    def test_refuses_a_bad_type(self, publish: Callable[..., None], type: Any) -> None:
        with refusal(InvalidType):
            publish("public:news", type, {})

    @bad.payloads
    def test_refuses_a_bad_payload(self, publish: Callable[..., None], payload: Any) -> None:
        with refusal(InvalidPayload):
            publish("public:news", "message", payload)

    @bad.too_large
    def test_refuses_a_large_payload(self, publish: Callable[..., None], payload: Any) -> None:
        with refusal(PayloadTooLarge):
            publish("public:news", "message", payload)


@pytest.mark.parametrize(
    "channel",
    ["public:news", "a:b", "project.x_y-z:Ab.C_d-9", "0:0", "-:-", "public:" + "a" * 121, "users:1", "user.x:1"],
)
def test_a_channel_is_a_namespace_and_a_name(channel: str) -> None:
    assert check_channel(channel) is channel
    assert is_channel(channel)
    assert namespace(channel) + ":" == channel[: channel.index(":") + 1]


def test_a_persons_channel_has_the_form_of_one() -> None:
    assert is_channel(f"user:{uuid.uuid4()}")


@pytest.mark.parametrize("type", ["message", "a", "0", "photo.resized", "a_b-c.d", "a" * 64, "runs", "error.shown"])
def test_a_type_is_a_short_name(type: str) -> None:
    assert check_type(type) is type


@given(st.text(max_size=200))
def test_no_other_text_is_a_channel(text: str) -> None:
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789_.-")
    before, colon, after = text.partition(":")
    wanted = (
        len(text) <= 128
        and bool(before and colon and after)
        and set(before) <= letters
        and set(after) <= letters | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    )
    assert is_channel(text) == wanted


def test_every_error_says_something_of_its_own() -> None:
    assert str(InvalidPayload()) == InvalidPayload.__doc__
