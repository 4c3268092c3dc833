"""The server of one process."""

import resource
import signal
import socket
import sys
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Final

from django.core.management.base import CommandError

from taskbell.checks import uvicorn_trouble
from taskbell.conf import current
from taskbell.gateway.asgi import Standalone
from taskbell.gateway.files import BESIDE_STREAMS, most_files, most_streams, most_waiting

if TYPE_CHECKING:
    import uvicorn

# What is left after DRAIN: a request whose thread hangs in a frozen database must not keep the process.
LAST_SECONDS: Final = 3


def need_server() -> None:
    """Say what is missing if this installation cannot serve."""
    if find_spec("uvicorn") is None:
        raise CommandError("The gateway needs uvicorn: pip install 'taskbell[serve]'.")
    try:
        from taskbell.gateway.server import StreamProtocol  # noqa: F401
    except ImportError as error:
        raise CommandError(f"{uvicorn_trouble()} Run: pip install 'taskbell[serve]'.") from error


def serve_streams(app: Standalone, listening: socket.socket) -> None:
    """Serve on a socket until SIGTERM or SIGINT."""
    server = _server(app)
    _stop_with_success(server)
    server.run(sockets=[listening])


def _server(app: Standalone) -> "uvicorn.Server":
    import uvicorn

    from taskbell.gateway.server import StreamProtocol

    config = uvicorn.Config(
        app,
        http=StreamProtocol,
        ws="none",
        lifespan="on",
        # The project's LOGGING holds for the server too. Below errors it says only that somebody sent no HTTP: a
        # scanner would fill the log.
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        backlog=most_waiting(),
        server_header=False,
        timeout_graceful_shutdown=current().DRAIN + LAST_SECONDS,
    )
    return uvicorn.Server(config)


def _stop_with_success(server: "uvicorn.Server") -> None:
    """Make a stop that was asked for exit 0.

    uvicorn handles signals while it runs, and raises them again when it is done; for a service that is no failure.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if not server.started:
            sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def raise_open_files() -> str:
    """Raise the soft limit of open files to the hard one, since every stream is one; say so if it is too low still."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS says "unlimited" and takes less
    wished, possible = current().STREAMS_PER_PROCESS, most_streams()
    if possible >= wished:
        return ""
    return (
        f"This process may open {most_files():,} files, so it takes {possible:,} streams and not "
        f"STREAMS_PER_PROCESS, {wished:,}. To take them all, raise the limit to {wished + BESIDE_STREAMS} "
        "(systemd: LimitNOFILE, Docker: --ulimit nofile)."
    )
