"""Facts from a worker's children to its main process, as datagrams on a socket made before the fork.

The kernel queues about ten; the main process drains them into memory at once. So a child waits for no database.
A datagram is a fact behind two numbers: the child's process, and how many facts it had to drop before this one.
"""

import os
import socket
import threading
from collections.abc import Callable
from typing import Final

from taskbell import faults
from taskbell.runs.facts import from_bytes, to_bytes
from taskbell.runs.states import Fact

# A fact is at most 64 KiB of payload and its identity.
MOST_BYTES: Final = 128 * 1024
# What a task may lose to a main process that does not read; then the fact is dropped and left to reconciliation.
CHILD_WAIT: Final = 0.1


class Children:
    """The socket pair of one worker: `send` in a child, `receive` in a thread of the main process."""

    def __init__(self, take: Callable[[Fact, int], None]) -> None:
        # By all children, as far as the main process was told.
        self.dropped = 0
        self._untold = 0
        self._main = os.getpid()
        self._take = take
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST_BYTES)
        self._writer.settimeout(CHILD_WAIT)
        self._thread = threading.Thread(target=self._receive, name="taskbell-children", daemon=True)
        self._thread.start()

    @property
    def in_child(self) -> bool:
        """Whether this process is a child of the one that made the sockets."""
        return os.getpid() != self._main

    def send(self, fact: Fact) -> None:
        """Send a fact from a child; never raises, waits at most CHILD_WAIT."""
        try:
            self._writer.send(b"%d %d %s" % (os.getpid(), self._untold, to_bytes(fact)))
            self._untold = 0
        except (OSError, ValueError) as error:
            self._untold += 1
            if fact.kind != "progress":
                faults.error("A fact of task %s did not reach the worker: %s", fact.identity.task_id, error)

    def close(self) -> None:
        """End receiving; what was sent before is taken. For the main process."""
        while self._thread.is_alive():
            try:
                self._writer.send(b"")
            except TimeoutError:  # children are still sending
                continue
            self._thread.join()
        self._reader.close()
        self._writer.close()

    def _receive(self) -> None:
        while data := self._reader.recv(MOST_BYTES):
            try:
                pid, dropped, fact = data.split(b" ", 2)
                self._note_dropped(int(dropped))
                self._take(from_bytes(fact), int(pid))
            except Exception:
                faults.exception("A child of this worker sent something that is no fact.")

    def _note_dropped(self, count: int) -> None:
        self.dropped += count
        if count:
            faults.error("Children of this worker had to drop facts of their tasks: %d until now", self.dropped)
