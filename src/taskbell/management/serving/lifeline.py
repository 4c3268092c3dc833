"""What ties a worker to the process that started it: the one says that it lives, and sees when the other is gone."""

import json
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, Self

from taskbell import faults
from taskbell.management.serving.reports import Report

#: The variable by which the same command, started again, knows that it is a worker.
VARIABLE: Final = "TASKBELL_WORKER"
REPORT_SECONDS: Final = 1.0
# The kernel's default for a local socket is 208 KiB; a report is a few.
MOST_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Post:
    """Where a worker serves: its number, the descriptor of its lifeline, and the port that all share."""

    number: int
    fd: int
    port: int

    @staticmethod
    def is_inherited() -> bool:
        """Tell whether this process is a worker that has not taken its post yet."""
        return VARIABLE in os.environ

    @classmethod
    def inherited(cls) -> Self | None:
        """Return the post of this process, None if it is no worker. Asked once: its own children have none."""
        text = os.environ.pop(VARIABLE, "")
        return cls(**json.loads(text)) if text else None

    def environment(self) -> dict[str, str]:
        """Return the environment in which a worker finds its post."""
        return os.environ | {VARIABLE: json.dumps(asdict(self))}


class Lifeline(threading.Thread):
    """A worker's end: reports every second, and ends the process in order when the parent is gone.

    A thread, so that a parent that is frozen or killed is no matter of the event loop's.
    """

    def __init__(self, post: Post, report: Callable[[], Report]) -> None:
        super().__init__(name="taskbell-lifeline", daemon=True)
        self._socket = socket.socket(fileno=post.fd)
        self._socket.setblocking(False)
        self._report = report

    def run(self) -> None:
        look = select.poll()  # no select(): it knows no descriptor over 1,023
        look.register(self._socket, select.POLLIN)
        while self._told():
            # The parent never writes, so there is something to read only when it is gone.
            if look.poll(REPORT_SECONDS * 1000):
                break
        os.kill(os.getpid(), signal.SIGTERM)

    def _told(self) -> bool:
        try:
            self._socket.send(json.dumps(self._report()).encode())
        except BlockingIOError:
            pass  # the parent is frozen: it gets the news that fit
        except OSError:
            return False
        except Exception:
            # To see that the parent is gone is more than to say how this worker is.
            faults.exception("This worker cannot say how it is.")
        return True


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a lifeline: the parent's, and the worker's to be inherited. A report arrives whole."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs
