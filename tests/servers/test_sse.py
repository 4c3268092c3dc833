"""The client is tested with strings and a socket of its own, because everything else is judged by it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.sse import Chunks, Cut, Ended, Event, Parser, Stream


def parse(*pieces: bytes) -> list[Event]:
    parser = Parser()
    return [event for piece in pieces for event in parser.feed(piece)]


def message(data: str, id: str = "") -> Event:
    return Event(type="message", data=data, id=id)


# The examples of the standard, section 9.2.6.


def test_several_data_lines_are_joined() -> None:
    assert parse(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [message("YHOO\n+2\n10")]


def test_comments_ids_and_one_leading_space() -> None:
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert parse(stream) == [message("first event", "1"), message("second event"), message(" third event")]


def test_a_block_without_data_is_no_event_and_the_last_block_needs_its_empty_line() -> None:
    assert parse(b"data\n\ndata\ndata\n\ndata:") == [message(""), message("\n")]


def test_the_space_after_the_colon_is_optional() -> None:
    assert parse(b"data:test\n\ndata: test\n\n") == [message("test"), message("test")]


# The rest of its rules.


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end(end: bytes) -> None:
    assert parse(end.join([b"event: a", b"data: 1", b"", b"data: 2", b"", b""])) == [Event("a", "1", ""), message("2")]


def test_a_line_feed_that_comes_late_belongs_to_its_carriage_return() -> None:
    assert parse(b"data: 1\r", b"", b"\ndata: 2\r", b"\n\r", b"\n") == [message("1\n2")]


def test_an_event_is_complete_at_the_carriage_return() -> None:
    assert parse(b"data: 1\r\r") == [message("1")]


def test_one_byte_order_mark_is_taken_off_and_only_at_the_start() -> None:
    assert parse(b"\xef\xbb", b"\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n") == [message("1")]


def test_an_id_lasts_and_is_taken_over_by_a_block_without_data() -> None:
    assert parse(b"id: 7\n\ndata: 1\n\ndata: 2\n\n") == [message("1", "7"), message("2", "7")]


def test_an_id_counts_only_once_its_block_is_complete() -> None:
    parser = Parser()
    parser.feed(b"id: 7\ndata: 1\n")
    assert parser.last_event_id == ""
    parser.feed(b"\n")
    assert parser.last_event_id == "7"


def test_an_id_with_a_null_is_ignored() -> None:
    assert parse(b"id: 7\n\nid: 8\0\ndata: 1\n\n") == [message("1", "7")]


def test_the_type_ends_with_its_block() -> None:
    assert parse(b"event: a\n\ndata: 1\n\n") == [message("1")]


@pytest.mark.parametrize(("value", "retry"), [(b"2000", 2000), (b"2s", None), ("٢".encode(), None), (b"", None)])
def test_retry_takes_ascii_digits(value: bytes, retry: int | None) -> None:
    parser = Parser()
    parser.feed(b"retry: " + value + b"\n")
    assert parser.retry == retry


def test_unknown_fields_are_ignored_and_comments_kept() -> None:
    parser = Parser()
    assert parser.feed(b": hello\nfoo: bar\nData: 1\n\n") == []
    assert parser.comments == ["hello"]


def test_bytes_that_are_not_utf8_are_an_error() -> None:
    with pytest.raises(UnicodeDecodeError):
        parse(b"data: \xff\n\n")


@given(
    st.lists(st.sampled_from(["data: 한국", "data", "id: 1", "id", "event: x", ":", "", "\ufeff", "retry: 5"])),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.data(),
)
def test_the_pieces_do_not_matter(lines: list[str], end: str, data: st.DataObject) -> None:
    stream = end.join(lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*pieces) == parse(stream)


def test_chunks() -> None:
    chunks = Chunks()
    body = b"".join(chunks.feed(bytes([byte])) for byte in b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
    assert body == b"abc0123456789"
    assert chunks.ended


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"3\r\nabcd\r\n", "not followed by CRLF"),
        (b"x\r\nabc\r\n", "invalid literal"),
        (b"0\r\n\r\nHTTP/1.1 200 OK", "after the last chunk"),
    ],
)
def test_broken_chunks_are_an_error(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Chunks().feed(raw)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nVary: Cookie\r\nvary: Origin\r\n"


class Server:
    """Answers one connection with the given pieces; then closes, in order or by a reset, or waits."""

    def __init__(self, *pieces: bytes, then: str = "close") -> None:
        self.pieces = pieces
        self.then = then
        self.request = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(4096)
            for piece in self.pieces:
                connection.sendall(piece)
            if self.then == "wait":
                self.enough.wait()
            if self.then == "reset":
                # Closing with unread bytes in the buffer resets.
                self.enough.wait()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@contextmanager
def serving(*pieces: bytes, then: str = "close") -> Iterator[Server]:
    server = Server(*pieces, then=then)
    with server.listener:
        server.thread.start()
        try:
            yield server
        finally:
            server.enough.set()
            server.thread.join()


def test_a_request_says_who_asks_and_from_where() -> None:
    with serving(HEAD + b"\r\n") as server:
        Stream(server.port, "/events/a:b/", cookie="a=1", last_event_id="1.2", headers={"Origin": "null"}).close()
        lines = server.request.decode().split("\r\n")
    assert lines[0] == "GET /events/a:b/ HTTP/1.1"
    assert {"Cookie: a=1", "Last-Event-ID: 1.2", "Origin: null", f"Host: 127.0.0.1:{server.port}"} <= set(lines)


def test_status_and_headers() -> None:
    with serving(HEAD + b"\r\n") as server, Stream(server.port) as stream:
        assert stream.status == 200
        assert stream.headers["vary"] == "Cookie, Origin"


def test_the_last_id_is_that_of_the_last_event_that_was_read() -> None:
    with serving(HEAD + b"\r\nid: 1\ndata: 1\n\nid: 2\ndata: 2\n\n") as server, Stream(server.port) as stream:
        stream.read()
        assert stream.last_event_id == "1"


def test_a_body_that_ends_with_the_connection() -> None:
    with (
        serving(HEAD + b"\r\ndata: 1\n\n", b"id: 5\ndata: 2\n\n") as server,
        Stream(server.port, record=True) as stream,
    ):
        assert list(stream) == [message("1"), message("2", "5")]
        assert stream.last_event_id == "5"
        assert stream.raw == b"data: 1\n\nid: 5\ndata: 2\n\n"
        stream.close()


def test_a_chunked_body() -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    with serving(chunked, b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n") as server, Stream(server.port) as stream:
        assert stream.rest() == [message("1")]


def test_a_chunked_body_without_its_last_chunk_is_cut() -> None:
    with serving(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as server, Stream(server.port) as stream:
        with pytest.raises(Cut):
            stream.read()


def test_a_body_of_known_length() -> None:
    with serving(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", then="wait") as server:
        with Stream(server.port) as stream:
            assert (stream.status, stream.text()) == (403, "no")


def test_a_reset_is_told_from_an_end() -> None:
    with serving(HEAD + b"\r\ndata: 1\n\n", then="reset") as server, Stream(server.port) as stream:
        assert stream.read() == message("1")
        server.enough.set()
        with pytest.raises(Cut):
            stream.read()


def test_no_answer_is_cut() -> None:
    with serving() as server, pytest.raises(Cut):
        Stream(server.port)


def test_nothing_to_read_times_out() -> None:
    with serving(HEAD + b"\r\n: still here\n\n", then="wait") as server, Stream(server.port) as stream:
        with pytest.raises(TimeoutError):
            stream.read(timeout=0.05)


def test_silence_does_not_mind_pings() -> None:
    with serving(HEAD + b"\r\nevent: ping\ndata: {}\n\n", then="wait") as server, Stream(server.port) as stream:
        stream.silence(0.05)


def test_choosing_events() -> None:
    body = b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\nevent: a\ndata: 3\n\nevent: c\ndata: 4\n\n"
    with serving(HEAD + b"\r\n" + body) as server, Stream(server.port) as stream:
        assert [event.json for event in stream.take(2, type="a")] == [1, 3]
        assert stream.until("c") == [Event("c", "4", "")]
        with pytest.raises(Ended):
            stream.read()


def test_a_slow_reader_is_slow() -> None:
    with serving(HEAD + b"\r\ndata: " + b"x" * 2_000 + b"\n\n") as server:
        begin = time.monotonic()
        with Stream(server.port, pace=10_000, receive_buffer=2_048) as stream:
            assert len(stream.read().data) == 2_000
        assert time.monotonic() - begin > 0.15


def test_an_abort_is_a_reset() -> None:
    with serving(HEAD + b"\r\n", then="wait") as server:
        Stream(server.port).abort()
        server.enough.set()


def test_the_cut_is_not_swallowed_by_iteration() -> None:
    with serving(HEAD + b"Content-Length: 50\r\n\r\ndata: 1\n\n") as server, Stream(server.port) as stream:
        with pytest.raises(Cut):
            list(stream)


def test_ended_stays_ended() -> None:
    with serving(HEAD + b"Content-Length: 0\r\n\r\n", then="wait") as server, Stream(server.port) as stream:
        for _ in range(2):
            with pytest.raises(Ended):
                stream.read()
