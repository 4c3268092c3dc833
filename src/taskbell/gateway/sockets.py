"""The socket beneath a transport: written to directly, tuned, and asked what its reader has not taken."""

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Final

# A reader that takes nothing holds this much of the kernel's memory (which doubles it), and no more.
SEND_BUFFER: Final = 32 * 1024
# Heartbeats keep data unacknowledged, which disables keepalive; this bounds a vanished and a stopped peer alike.
USER_TIMEOUT_MS: Final = 30_000


def borrow(transport: asyncio.Transport) -> socket.socket:
    """Return a socket on the transport's own descriptor. Whoever borrows it detaches it, and never closes it."""
    theirs = transport.get_extra_info("socket")
    borrowed = socket.socket(theirs.family, theirs.type, theirs.proto, theirs.fileno())  # else the kernel is asked
    # The descriptor does not block. A project's default timeout would make Python wait; nothing else is worth a call
    # in which other threads take the interpreter.
    if borrowed.gettimeout() is not None:
        borrowed.setblocking(False)
    return borrowed


def tune(borrowed: socket.socket) -> None:
    """Bound what the kernel keeps for one reader, and how long it waits for a vanished one."""
    if _is_tcp(borrowed):
        borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        _bound_silence(borrowed, USER_TIMEOUT_MS)


def bound_silence(borrowed: socket.socket, milliseconds: int) -> None:
    """Have the kernel cut a peer that acknowledges nothing for so long; 0: after its own quarter of an hour."""
    if _is_tcp(borrowed):
        _bound_silence(borrowed, milliseconds)


def forget_at_close(borrowed: socket.socket) -> None:
    """Have the kernel drop what was not taken when the socket is closed, instead of offering it for minutes."""
    if _is_tcp(borrowed):
        borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def unsent_in_kernel(borrowed: socket.socket) -> int:
    """Return the bytes that the kernel holds for the reader; 0 where that cannot be asked."""
    if not _is_tcp(borrowed):
        return 0
    return int(struct.unpack("i", fcntl.ioctl(borrowed, termios.TIOCOUTQ, b"\0\0\0\0"))[0])


def _bound_silence(borrowed: socket.socket, milliseconds: int) -> None:
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _is_tcp(borrowed: socket.socket) -> bool:
    """Return False for a Unix socket, and for one that was given back."""
    return borrowed.fileno() >= 0 and borrowed.family in (socket.AF_INET, socket.AF_INET6)
