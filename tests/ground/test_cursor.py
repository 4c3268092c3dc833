import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbell.exceptions import InvalidCursor
from taskbell.ground.cursor import MAX_SEQ, NONCE_AT_ZERO, TOKEN_LENGTH, Cursor, new_token
from taskbell.models import TOKEN_LENGTH as TOKEN_COLUMN
from tests.ground import bad

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=16)
CURSORS = st.builds(Cursor, TOKENS, st.integers(0, MAX_SEQ), TOKENS)


def test_a_cursor_reads_as_version_log_number_nonce() -> None:
    assert str(Cursor("k3f9", 1043, "x7Qa")) == "1.k3f9.1043.x7Qa"
    assert Cursor.parse("1.k3f9.1043.x7Qa") == Cursor("k3f9", 1043, "x7Qa")


@given(CURSORS)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    text = str(cursor)
    assert Cursor.parse(text) == cursor
    # Browsers send it back in a header: longer, or with other characters, it would cost a preflight.
    assert len(text) <= 64
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@bad.cursors
def test_no_other_text_is_a_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor):
        Cursor.parse(text)


@given(CURSORS, st.data())
def test_a_damaged_cursor_is_refused_or_another_one(cursor: Cursor, data: st.DataObject) -> None:
    text = str(cursor)
    at = data.draw(st.integers(0, len(text) - 1))
    bit = data.draw(st.integers(0, 7))
    for damaged in (text[:at], text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]):
        try:
            parsed = Cursor.parse(damaged)
        except InvalidCursor:
            continue
        assert parsed != cursor
        assert str(parsed) == damaged


@given(st.text())
def test_whatever_parses_is_written_the_same_way(text: str) -> None:
    try:
        assert str(Cursor.parse(text)) == text
    except InvalidCursor:
        pass


def test_a_token_is_random_and_fits_its_column() -> None:
    tokens = {new_token() for _ in range(1_000)}
    assert len(tokens) == 1_000
    assert {len(token) for token in tokens} == {TOKEN_LENGTH}
    assert TOKEN_LENGTH <= TOKEN_COLUMN
    assert NONCE_AT_ZERO not in tokens
