"""Where a demo lives: its port, its folder, its terminal."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = "8000"


class Trouble(Exception):
    """The demo cannot run; the text says why, and what to do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def kept(path: Path, make: Callable[[], str]) -> str:
    """Return a secret of this demo, made once: who is signed in, or told by Web Push, is so when it starts again."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(make())
    return path.read_text()


def answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def wanted_port() -> int:
    text = os.environ.get("PORT") or DEFAULT_PORT
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise Trouble(f"PORT is a number from 1 to 65535, not {text!r}.")
    with socket.socket() as probe:
        # As the server will: connections of the last demo may linger.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(text)))
        except PermissionError:
            raise Trouble(f"Port {text} is not for you to use. Choose another: make demo PORT=8001") from None
        except OSError:
            raise _taken(text) from None
    return int(text)


def _taken(port: int | str) -> Trouble:
    return Trouble(f"Port {port} is taken. Choose another: make demo PORT={int(port) + 1}")


@contextlib.contextmanager
def own_folder(port: int) -> Iterator[Path]:
    """The folder of the demo on this port, for one demo at a time."""
    state = Path(os.environ.get("DEMO_FOLDER") or ROOT / ".demo").absolute() / str(port)
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _taken(port) from None
        yield state


def say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(text, flush=True)


def near(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
