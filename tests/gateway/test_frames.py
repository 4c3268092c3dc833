"""Every frame is exactly the event that was published: an independent parser reads what `publish` was given."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from taskbell import publish, publish_many
from taskbell.exceptions import InvalidChannel, InvalidPayload, InvalidType
from tests.gateway.real import KINDS, Make, Start, is_, say
from tests.servers.sse import Stream

pytestmark = pytest.mark.proof

LOOKS_LIKE_SSE = "\n\nevent: forged\nid: 1.forged.1.x\ndata: {}\n\n"
SAFE = 2**53 - 1

#: Payloads and, where JSON has no such value, what a page reads instead.
NASTY: dict[str, Any] = {
    "looks like another event": LOOKS_LIKE_SSE,
    "with carriage returns": LOOKS_LIKE_SSE.replace("\n", "\r"),
    "with both": LOOKS_LIKE_SSE.replace("\n", "\r\n"),
    "a key that looks so": {LOOKS_LIKE_SSE: LOOKS_LIKE_SSE},
    "line ends of Python": "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029",
    "every control character": "".join(map(chr, range(32))) + "\x7f",
    "byte order marks": "\ufeff\ufeff",
    "a lone surrogate": "\ud800 and \udfff",
    "a key of a lone surrogate": {"\ud83d": 1},
    "astral": "\U0001f514\U0010ffff",
    "closes a script": "</script><img onerror=alert(1)>",
    "a link": "javascript:alert(1)",
    "bidirectional": "\u202eabc\u200b",
    "composed and not": ["\u00e9", "e\u0301"],
    "NUL": "a\0b",
    "minus zero": -0.0,
    "the largest integers": [SAFE, -SAFE],
    "floats": [1e308, 5e-324, 0.1, 1e16, 123456789012345680.0],
    "deep": json.loads("[" * 200 + "]" * 200),
    "a prototype": {"__proto__": {"polluted": True}, "constructor": 1, "toString": 2},
    "empty": [{}, [], "", None, {"": ""}],
    "truth": [True, False],
    "long": "é" * 10_000,
}


def read(stream: Stream, count: int) -> list[Any]:
    """Return the next payloads, each frame checked for what it may hold."""
    found = []
    for event in stream.take(count, type="message", timeout=20):
        assert event.data.isascii()
        assert event.data.isprintable(), "one line, and nothing that any reader takes for its end"
        found.append(event.json)
    return found


@KINDS
def test_nasty_payloads_arrive_as_they_were(project: Make, start: Start) -> None:
    gateway = start(project("sqlite"))
    with gateway.stream("/events/public:news/", record=True) as stream:
        stream.read()
        for payload in NASTY.values():
            say(payload)
        found = read(stream, len(NASTY))
        assert [repr(value) for value in found] == [repr(value) for value in NASTY.values()]
        frames = bytes(stream.raw).decode("ascii").split("\n\n")
        assert all(len(frame.split("\n")) == 3 for frame in frames if "event: message" in frame), "id, event, data"
        assert "\r" not in bytes(stream.raw).decode()


def test_what_json_does_not_know_is_written_as_django_does(project: Make) -> None:
    gateway = project("sqlite").serve()
    moment = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    with gateway.stream("/events/public:news/") as stream:
        stream.read()
        say({"at": moment, "on": date(2026, 3, 1), "for": timedelta(seconds=90), "id": UUID(int=7)})
        say([Decimal("1.10"), gettext_lazy("Yes"), (1, 2)])
        assert read(stream, 2) == [
            {"at": "2026-03-01T12:30:15.123Z", "on": "2026-03-01", "for": "P0DT00H01M30S", "id": str(UUID(int=7))},
            ["1.10", "Yes", [1, 2]],
        ]


CHARACTERS = st.characters() | st.sampled_from("\r\n\0\u2028\u2029\x85\ufeff:\ud800\udc00")
TEXT = st.text(CHARACTERS, max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
TYPES = st.from_regex(r"\A[a-z0-9._-]{1,64}\Z").filter(
    lambda type: type not in {"run", "notification", "seen", "error", "open", "ping", "reset", "bye"}
)
CHANNELS = st.from_regex(r"\Apublic:[A-Za-z0-9_.-]{1,121}\Z")


@pytest.fixture
def opened(project: Make) -> Callable[[list[str]], Stream]:
    gateway = project("sqlite").serve()
    return lambda channels: gateway.stream("/events/?" + "&".join(f"channel={name}" for name in channels))


def test_any_payload_type_and_channel(opened: Callable[[list[str]], Stream]) -> None:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.tuples(CHANNELS, TYPES, JSON), min_size=1, max_size=20))
    @example([("public:" + "x" * 121, "x" * 64, LOOKS_LIKE_SSE)])
    def arrives(events: list[tuple[str, str, Any]]) -> None:
        with opened([*dict.fromkeys(channel for channel, _, _ in events)]) as stream:
            stream.read()
            publish_many(events)
            found = [event for event in stream.take(len(events)) if event.type != "ping"]
            assert [(event.type, repr(event.json)) for event in found] == [
                (type, repr(payload)) for _, type, payload in events
            ]

    arrives()


BAD_TEXT = [
    "",
    "\n",
    "a\n",
    "a\r\nb",
    "a\0",
    "a\x7f",
    "a\x85",
    "a\u2028",
    " a",
    "a ",
    "\ufeffa",
    "\u202ea",
    "a\u200b",
    "\u00e9",
    "e\u0301",
    "a*",
    "a?",
    "a%0a",
    "../a",
    "a" * 1_000_000,
]
RESERVED = ["error", "open", "run", "notification", "seen", "ping", "reset", "bye"]


def test_bad_values_are_refused_with_a_word_and_change_nothing(project: Make) -> None:
    gateway = project("sqlite").serve()
    endless: list[Any] = []
    endless.append(endless)
    with gateway.stream("/events/public:news/") as stream:
        stream.read()
        for type in [*BAD_TEXT, *RESERVED, "x" * 65, "a:b", "A", None, 1, b"x"]:
            with pytest.raises(InvalidType, match=r"type"):
                publish("public:news", type, {})  # type: ignore[arg-type]
        channels = [*BAD_TEXT, *(f"public:{text}" for text in BAD_TEXT), "user:1", "taskbell:control", "a:" + "b" * 127]
        for channel in [*channels, None, 5, b"public:news"]:
            with pytest.raises(InvalidChannel, match=r"channel|user"):
                publish(channel, "message", {})  # type: ignore[arg-type]
        for payload in [
            float("nan"),
            float("inf"),
            2**53,
            -(2**53),
            {1: "a", "1": "b"},
            endless,
            b"x",
            object(),
            {b"": 1},
        ]:
            with pytest.raises(InvalidPayload, match=r"payload|integer"):
                publish("public:news", "message", payload)
        with pytest.raises(InvalidPayload):
            publish("public:news", "message", _deep(100_000))
        with pytest.raises(InvalidPayload):
            publish("public:news", "message", "x" * 10_000_000)
        with pytest.raises(InvalidPayload):
            publish_many([("public:news", "message", "good"), ("public:news", "message", float("nan"))])
        say("last")
        assert [event.json for event in stream.until(is_("last")) if event.type != "ping"] == ["last"]


def _deep(levels: int) -> Any:
    inner: Any = 1
    for _ in range(levels):
        inner = [inner]
    return inner
