import resource
import signal
import socket
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import CommandError, OutputWrapper

from taskbell.management.verbs.base import Verb

# The kernel's own limit (net.core.somaxconn) is usually 4096: a storm of returning browsers waits there.
BACKLOG: Final = 4096


class Serve(Verb):
    help = "Serve streams, and move and prune events; stop it with SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (default: %(default)s).")
        parser.add_argument("--port", type=int, default=8001, help="Port to listen on (default: %(default)s).")

    def run(self, out: OutputWrapper, *, host: str, port: int, **options: Any) -> int:
        try:
            import uvicorn

            from taskbell.gateway.server import StreamProtocol
        except ImportError as error:
            raise CommandError("The gateway needs uvicorn: pip install 'taskbell[serve]'.") from error
        from taskbell.gateway.asgi import Standalone

        raise_open_files()
        config = uvicorn.Config(
            Standalone(),
            http=StreamProtocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        with listen(host, port) as listening:
            # uvicorn raises the signal again when it is done; for a service a stop that was asked for is a success.
            signal.signal(signal.SIGTERM, lambda number, frame: None)
            out.write(f"Taskbell serves streams on http://{host}:{listening.getsockname()[1]}")
            out.flush()
            uvicorn.Server(config).run(sockets=[listening])
        return 0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, or say in plain words why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host} port {port}: {error.strerror}. Choose another --port.") from error


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one: every stream is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


verb = Serve()
