"""Time as a weapon: heads that trickle, connections that say nothing, and kept ones that fall silent."""

import asyncio
import time
from collections import Counter

import pytest

from tests.gateway.real import is_, say
from tests.gateway.requests.case import GOOD, HEAD, PATH, get
from tests.gateway.requests.reply import Reply, exchange, parse
from tests.gateway.requests.stage import HEADER_TIME, Stage

pytestmark = pytest.mark.proof
OURS = pytest.mark.parametrize("stage", ["serve", "shim"], indirect=True, scope="module")
KEEPING = pytest.mark.parametrize("stage", ["shim"], indirect=True, scope="module")

EACH = 150
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


async def trickle(port: int, head: bytes, pause: float) -> tuple[int, float]:
    """Send a head byte by byte until the server has had enough; return the status and how long that took."""
    began = time.monotonic()  # before the server can have begun: here hundreds connect at once
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        answer = asyncio.create_task(reader.read())
        for byte in head:
            if answer.done():
                break
            writer.write(bytes([byte]))
            await asyncio.wait([answer], timeout=pause)
        data = await asyncio.wait_for(answer, 30)
    except ConnectionError:
        data = b""
    finally:
        writer.transport.abort()
    return (parse(data) or Reply()).status, time.monotonic() - began


@OURS
def test_a_crowd_of_slow_ones_costs_nobody_anything(stage: Stage) -> None:
    """Silent ones, ones that stop within the line, and ones that send ten bytes a second; good streams between them."""

    async def crowd() -> list[tuple[int, float]]:
        slow = [trickle(stage.port, head, 0.1) for head in [b"", GOOD[:9], HEAD] for _ in range(EACH)]
        waiting = asyncio.gather(*slow)
        await asyncio.to_thread(stage.is_well)
        return await waiting

    answers = asyncio.run(crowd())
    assert {status for status, _ in answers[:EACH]} == {408}
    # Whoever still sends when the server closes is reset, and may lose the answer by that.
    told = Counter(status for status, _ in answers)
    assert told.keys() <= {0, 408}
    assert told[408] > 2 * EACH
    assert min(seconds for _, seconds in answers) > 0.9 * HEADER_TIME
    stage.left_no_trace()


@pytest.mark.parametrize("stage", ["nginx"], indirect=True, scope="module")
def test_nginx_does_not_wait_for_slow_ones_either(stage: Stage) -> None:
    async def crowd() -> list[tuple[int, float]]:
        return await asyncio.gather(*(trickle(stage.port, head, 0.1) for head in [b"", GOOD[:9], HEAD]))

    assert {status for status, _ in asyncio.run(crowd())} <= {0, 408}
    stage.left_no_trace()


@OURS
def test_what_is_no_http_is_not_waited_for(stage: Stage) -> None:
    began = time.monotonic()
    assert {exchange(stage.port, TLS_HELLO).status for _ in range(EACH)} == {400}
    assert time.monotonic() - began < HEADER_TIME * EACH
    stage.left_no_trace()


@OURS
def test_every_beginning_of_a_request_may_be_the_end(stage: Stage) -> None:
    async def leave(length: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(GOOD[:length])
        await writer.drain()
        writer.transport.abort() if length % 2 else writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(leave(length) for length in range(len(GOOD) + 1)))

    asyncio.run(all_of_them())
    stage.left_no_trace()


@OURS
def test_whoever_says_that_it_sends_no_more_is_gone(stage: Stage) -> None:
    """Browsers never do; a stream whose reader may be gone must not be kept for a minute."""
    with stage.gateway.stream(PATH.decode(), host="127.0.0.1") as stream:
        stream.until("ping")
        say("before")
        stream.until(is_("before"))
        stream.socket.shutdown(1)
        assert stream.rest() == []
    stage.left_no_trace()


@KEEPING
def test_a_kept_connection_that_falls_silent_is_closed(stage: Stage) -> None:
    async def keep(then: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        try:
            writer.write(get(b"/"))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(then)
            return await asyncio.wait_for(reader.read(), 30)
        finally:
            writer.transport.abort()

    assert b"HTTP/1.1" not in asyncio.run(keep(b"")), "without a word"
    assert b"HTTP/1.1 408" in asyncio.run(keep(GOOD[:20]))
    assert b"HTTP/1.1 408" in asyncio.run(keep(HEAD))
    stage.left_no_trace()
