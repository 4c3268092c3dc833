"""Type a line: it is published, and comes back over Server-Sent Events as the frame a browser would get.

The gateway is a process of its own. Kill it, and go on typing: it is started again, and everything comes back.
"""

import os
import select
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Thread
from typing import Final

import django
import django.core.management
from line_gateway import CannotStart, Gateway, field, read

CHANNEL: Final = "public:lines"
TYPE: Final = "line"
INTERRUPTED: Final = 130
AT_ONCE: Final = 64 * 1024


class Echo:
    """Publishes the lines of standard input and prints their frames as they come back."""

    def __init__(self) -> None:
        self.gateway = Gateway(say=hint)
        self.trouble: Exception | None = None
        self._changed = Condition()
        self._published = 0
        self._returned = 0
        self._listening = False
        # What has to end waiting for standard input is written here: trouble, and by Python itself each signal. One
        # that came just before the wait would not interrupt it.
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)

    def run(self) -> int:
        """Return the exit status once every line came back."""
        reader = Thread(target=self._read, name="reader")
        reader.start()
        try:
            self._wait_until_listening()
            if sys.stdin.isatty():
                hint("Type a line and press Enter; Ctrl-D ends. Kill the gateway with kill -9 and go on typing.")
            for line in self._typed():
                self._publish(line)
            self._wait_until_all_returned()
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            # From here on nothing may keep us from stopping what we started.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            self.gateway.stop()
            reader.join()
        return self._status()

    def _typed(self) -> Iterator[bytes]:
        """Yield the lines of standard input until it ends, or there is trouble."""
        rest = b""
        while data := self._read_more():
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
        yield from filter(None, [rest])

    def _read_more(self) -> bytes:
        select.select([sys.stdin, self._woken], [], [])
        return b"" if self.trouble else os.read(sys.stdin.fileno(), AT_ONCE)

    def _publish(self, line: bytes) -> None:
        from taskbell import publish
        from taskbell.exceptions import InvalidEvent

        # What is no UTF-8 shows as �, as it would in a browser.
        text = line.decode(errors="replace")
        try:
            publish(CHANNEL, TYPE, {"line": text})
        except InvalidEvent as error:
            hint(str(error))
        else:
            self._published += 1

    def _read(self) -> None:
        try:
            for frame in read(self.gateway, CHANNEL):
                self._take(frame)
        except (CannotStart, OSError, LookupError) as error:
            with self._changed:
                self.trouble = error
                self._changed.notify()
            # Standard input may be silent for ever.
            os.write(self._wake, b"!")

    def _take(self, frame: bytes) -> None:
        kind = field(frame, "event")
        if kind == "reset":
            raise LookupError(f"The gateway says that lines are missing: {field(frame, 'data')}")
        if kind == TYPE:
            sys.stdout.buffer.write(frame)
            sys.stdout.buffer.flush()
        with self._changed:
            self._listening = True
            self._returned += kind == TYPE
            self._changed.notify()

    def _wait_until_listening(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._listening or self.trouble)

    def _wait_until_all_returned(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._returned == self._published or self.trouble)

    def _status(self) -> int:
        if self.trouble is None:
            return 0
        if isinstance(self.trouble, BrokenPipeError):
            # `make try | head` has seen enough, and what Python flushes at its end must not complain again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        hint(str(self.trouble))
        return 1


def hint(text: str) -> None:
    """Tell the person something; standard output is for frames alone."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="taskbell-line-") as folder:
        # The gateway inherits this: one project in two processes.
        os.environ["DJANGO_SETTINGS_MODULE"] = "line_settings"
        os.environ["LINE_DATABASE"] = str(Path(folder, "line.sqlite3"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
        try:
            django.setup()
            django.core.management.call_command("migrate", verbosity=0)
            return Echo().run()
        except KeyboardInterrupt:
            return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
