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
    borrowed = socket.socket(fileno=transport.get_extra_info("socket").fileno())
    borrowed.setblocking(False)
    return borrowed


def tune(borrowed: socket.socket) -> None:
    """Bound what the kernel keeps for one reader, and how long it waits for a vanished one."""
    if borrowed.family not in (socket.AF_INET, socket.AF_INET6):
        return
    borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def unsent_in_kernel(borrowed: socket.socket) -> int:
    """Return the bytes that the kernel holds for the reader; 0 where that cannot be asked."""
    if borrowed.fileno() < 0 or borrowed.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    return int(struct.unpack("i", fcntl.ioctl(borrowed, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
