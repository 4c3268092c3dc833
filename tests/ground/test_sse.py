"""The wire, as an independent parser reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbell.ground import sse
from taskbell.ground.cursor import Cursor
from tests.servers.sse import Event, Parser

PLACE = Cursor("k3f9", 1043, "x7Qa")
ID = "1.k3f9.1043.x7Qa"
TYPES = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=64)


def test_a_frame_is_three_lines_and_an_empty_one() -> None:
    assert (
        sse.frame(PLACE, "message", '{"msg":"hi"}') == b'id: 1.k3f9.1043.x7Qa\nevent: message\ndata: {"msg":"hi"}\n\n'
    )


def test_the_opening_sets_how_soon_a_browser_comes_back() -> None:
    parser = Parser()
    assert parser.feed(sse.OPENING) == []
    assert parser.retry == 2000
    assert parser.last_event_id == ""


def test_a_ping_moves_the_cursor() -> None:
    parser = Parser()
    assert parser.feed(sse.ping(PLACE)) == [Event("ping", "{}", ID)]
    assert parser.last_event_id == ID


@pytest.mark.parametrize("reason", ["expired", "rewritten", "unknown", "too_much"])
def test_a_reset_says_why_and_from_where_it_goes_on(reason: sse.ResetReason) -> None:
    [event] = Parser().feed(sse.reset(PLACE, reason))
    assert (event.type, event.json, event.id) == ("reset", {"reason": reason}, ID)


@pytest.mark.parametrize("reason", ["age", "drain", "limit", "signed_out", "stalled"])
def test_a_bye_brings_its_own_delay_and_leaves_the_cursor(reason: sse.ByeReason) -> None:
    parser = Parser()
    parser.feed(sse.OPENING + sse.ping(PLACE))
    [event] = parser.feed(sse.bye(reason, 7654))
    assert (event.type, event.json, event.id) == ("bye", {"reason": reason}, ID)
    assert parser.retry == 7654


def test_the_type_of_content_is_the_standards() -> None:
    assert sse.CONTENT_TYPE == b"text/event-stream; charset=utf-8"


@given(st.lists(st.tuples(TYPES, st.integers(0, 2**63 - 1)), max_size=10), st.integers(1, 40))
def test_frames_follow_each_other_however_the_bytes_are_cut(events: list[tuple[str, int]], size: int) -> None:
    data = b"".join(sse.frame(Cursor("log", seq, "nonce"), type, f'"{seq}"') for type, seq in events)
    parser = Parser()
    read = [event for start in range(0, len(data), size) for event in parser.feed(data[start : start + size])]
    assert read == [Event(type, f'"{seq}"', f"1.log.{seq}.nonce") for type, seq in events]
