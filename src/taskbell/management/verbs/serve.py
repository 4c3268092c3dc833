import os
import resource
import signal
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import closing
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, OutputWrapper
from django.db import router
from django.urls import NoReverseMatch, reverse

from taskbell.checks import uvicorn_trouble
from taskbell.conf import current
from taskbell.management.database import trouble_with
from taskbell.management.verbs.base import Verb
from taskbell.models import Log
from taskbell.wakeups import kind

if TYPE_CHECKING:
    import uvicorn

# The kernel's own limit (net.core.somaxconn) is usually 4096: a storm of returning browsers waits there.
BACKLOG: Final = 4096
LAST_SECONDS: Final = 3
LAST_PORT: Final = 65_535


class Serve(Verb):
    help = "Serve streams, and move and prune events; stop it with SIGTERM or Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (default: %(default)s).")
        parser.add_argument(
            "--port", type=port_number, default=8001, help="Port to listen on, 0 for any (default: %(default)s)."
        )

    def run(self, out: OutputWrapper, *, host: str, port: int, **options: Any) -> int:
        server = make_server()
        alias = router.db_for_write(Log)
        prefix = events_prefix()
        wakeup = chosen_wakeup(alias)
        if trouble := uvicorn_trouble():
            out.write(f"{trouble} Streams may fail.")
        look_at_database(alias, out)
        raise_open_files()
        with closing(listen(host, port)) as listening:
            stop_with_success(server)
            out.write(
                f"Taskbell serves streams on http://{address(listening)}{prefix}\n"
                f"Process {os.getpid()}, database {alias!r}, wakeup {wakeup}. Stop it with Ctrl-C or SIGTERM."
            )
            out.flush()
            server.run(sockets=[listening])
        return 0


def make_server() -> "uvicorn.Server":
    """Return the server, or say what it needs."""
    if find_spec("uvicorn") is None:
        raise CommandError("The gateway needs uvicorn: pip install 'taskbell[serve]'.")
    try:
        import uvicorn

        from taskbell.gateway.server import StreamProtocol
    except ImportError as error:
        raise CommandError(f"{uvicorn_trouble()} Run: pip install 'taskbell[serve]'.") from error
    from taskbell.gateway.asgi import Standalone

    config = uvicorn.Config(
        Standalone(),
        http=StreamProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Streams are gone after DRAIN; a request whose thread hangs in a frozen database must not keep the process.
        timeout_graceful_shutdown=current().DRAIN + LAST_SECONDS,
    )
    return uvicorn.Server(config)


def events_prefix() -> str:
    """Return where the URLconf puts the streams."""
    try:
        return reverse("taskbell-events:own")
    except NoReverseMatch as error:
        raise CommandError(
            'Streams have no address. Add path("events/", include("taskbell.urls.events")) to ROOT_URLCONF.'
        ) from error


def chosen_wakeup(alias: str) -> str:
    """Return the kind of wakeup that the settings choose."""
    try:
        return kind(alias)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error


def look_at_database(alias: str, out: OutputWrapper) -> None:
    """Refuse to start without tables; wait for a database that is away, as after any later outage."""
    trouble = trouble_with(alias)
    if trouble is None:
        return
    if not trouble.passing:
        raise CommandError(str(trouble))
    out.write(f"{trouble} No stream is served until it answers.")


def port_number(text: str) -> int:
    """Return the port that was typed."""
    if not (text.isascii() and text.isdigit() and int(text) <= LAST_PORT):
        raise ArgumentTypeError(f"{text!r} is no port. Write a number from 0 to {LAST_PORT}.")
    return int(text)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, or say in plain words why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # `::` means every address, as it does for other servers.
    dual = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        why = str(error.strerror or error).partition(" (")[0]
        raise CommandError(f"Cannot listen on {host} port {port}: {why}. Choose another --host or --port.") from error


def address(listening: socket.socket) -> str:
    """Return host and port as they stand in an address of the web."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if listening.family == socket.AF_INET6 else f"{host}:{port}"


def stop_with_success(server: "uvicorn.Server") -> None:
    """Make a stop that was asked for exit 0.

    uvicorn handles signals while it runs, and raises them again when it is done; for a service that is no failure.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if not server.started:
            sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one: every stream is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS says "unlimited" and takes less


verb = Serve()
