"""Readers that stop, trickle or vanish among good ones: the good are not held up, the bad are gone, nothing is lost.

At full size, with times: `make bench`.
"""

import ctypes
import socket
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest

from tests.gateway.real import QUICK, Make, is_, published, say
from tests.servers.project import Gateway
from tests.servers.sse import Stream

pytestmark = pytest.mark.proof

NEWS = "/events/public:news/"
EACH = 10
#: More than a reader's buffers hold.
TEXTS = [f"{number} {'x' * 50_000}" for number in range(6)]
#: Bytes a second: slow enough to be at it for longer than the kernel has patience with a small window.
TRICKLE = 8_000
#: The kernel's time for a peer that acknowledges nothing, and what its timers and a busy machine add.
VANISHED_SECONDS = 45
#: `SO_ATTACH_FILTER` with a program of one instruction, `return 0`: TCP never sees what arrives.
SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)


def vanish(stream: Stream) -> None:
    """Be as silent as behind a cut cable: nothing is acknowledged, and nothing refused."""
    program = ctypes.create_string_buffer(DROP_ALL)
    filter = struct.pack("HxxxxxxP", 1, ctypes.addressof(program))
    stream.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter)


def open_many(gateway: Gateway, stack: ExitStack, **options: int) -> list[Stream]:
    streams = [stack.enter_context(gateway.stream(NEWS, **options)) for _ in range(EACH)]
    for stream in streams:
        assert stream.read().type == "ping"
    return streams


def peers_of(gateway: Gateway) -> set[object]:
    """Return the other ends of the connections that a gateway holds."""
    return {tuple(found.raddr) for found in psutil.Process(gateway.pid).net_connections("tcp") if found.raddr}


def ends(streams: Iterable[Stream]) -> set[object]:
    return {stream.socket.getsockname() for stream in streams}


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can drop packets for one socket")
def test_good_readers_among_bad_ones(project: Make) -> None:
    one = project("sqlite")
    one.configure(**QUICK, STREAMS_PER_ADDRESS=10 * EACH)
    gateway = one.serve()
    with ThreadPoolExecutor(EACH) as threads, ExitStack() as stack:
        good = open_many(gateway, stack)
        stopped = open_many(gateway, stack, receive_buffer=8192)
        trickling = open_many(gateway, stack, receive_buffer=8192, pace=TRICKLE)
        vanished = open_many(gateway, stack)
        good += open_many(gateway, stack)
        for stream in vanished:
            vanish(stream)
        bad, kept = ends([*stopped, *vanished]), ends([*good, *trickling])
        say(*TEXTS)
        slowly = [threads.submit(stream.until, is_(TEXTS[-1]), timeout=120) for stream in trickling]
        for stream in good:
            assert published(stream.until(is_(TEXTS[-1]), timeout=20)) == TEXTS
        gateway.wait_until(lambda: not bad & peers_of(gateway), what="rid of the bad", timeout=VANISHED_SECONDS)
        for reading in slowly:
            assert published(reading.result()) == TEXTS, "on one connection, however long it took"
        assert kept <= peers_of(gateway)
