import asyncio
import os
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import closing
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, OutputWrapper
from django.db import router
from django.urls import NoReverseMatch, reverse

from taskbell.checks import uvicorn_trouble
from taskbell.gateway.asgi import Standalone
from taskbell.management.database import trouble_with
from taskbell.management.serving.lifeline import Lifeline, Post
from taskbell.management.serving.listening import address, host_and_port, listen, port_number, reserve
from taskbell.management.serving.reports import report
from taskbell.management.serving.server import need_server, raise_open_files, serve_streams
from taskbell.management.serving.status import showing
from taskbell.management.serving.supervisor import FROZEN_SECONDS, Supervisor
from taskbell.management.verbs.base import Verb
from taskbell.models import Log
from taskbell.wakeups import kind


class Serve(Verb):
    help = "Serve streams, and move and prune events; stop it with SIGTERM or Ctrl-C."

    @property
    def checked(self) -> bool:
        return not Post.is_inherited()  # who started this worker has been told

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (default: %(default)s).")
        parser.add_argument(
            "--port", type=port_number, default=8001, help="Port to listen on, 0 for any (default: %(default)s)."
        )
        parser.add_argument(
            "--workers",
            type=number_of_workers,
            default=1,
            help="Serve by this many processes that share the port; only on Linux (default: %(default)s).",
        )

        parser.add_argument(
            "--status",
            type=host_and_port,
            metavar="HOST:PORT",
            help="Answer /livez, /readyz and /metrics here, for your own machines alone.",
        )
        parser.add_argument(
            "--notice",
            type=seconds,
            default=0.0,
            metavar="SECONDS",
            help="How long to say `not ready` before the first `bye`, for a load balancer that asks (default: 0).",
        )

    def run(
        self,
        out: OutputWrapper,
        *,
        host: str,
        port: int,
        workers: int,
        status: tuple[str, int] | None,
        notice: float,
        **options: Any,
    ) -> int:
        app = Standalone(notice)
        if (post := Post.inherited()) is not None:
            work(app, host, post)
            return 0
        need_server()
        alias = router.db_for_write(Log)
        prefix = events_prefix()
        wakeup = chosen_wakeup(alias)
        if trouble := uvicorn_trouble():
            out.write(f"{trouble} Streams go by its plain way, which takes several times the memory.")
        look_at_database(alias, out)
        if trouble := raise_open_files():
            out.write(trouble)
        with closing(listen(host, port) if workers == 1 else reserve(host, port)) as bound:
            many = "" if workers == 1 else f" with {workers} workers"
            out.write(
                f"Taskbell serves streams on http://{address(bound)}{prefix}\n"
                f"Process {os.getpid()}{many}, database {alias!r}, wakeup {wakeup}. Stop it with Ctrl-C or SIGTERM."
            )
            out.flush()
            if workers > 1:
                return supervise(Supervisor(workers, bound.getsockname()[1], notice), status)
            with showing(status, lambda: [("", report(app))], lambda: report(app)["stood_still"] < FROZEN_SECONDS):
                serve_streams(app, bound)
        return 0


def supervise(supervisor: Supervisor, status: tuple[str, int] | None) -> int:
    """Keep several workers, and return the exit status."""
    with showing(status, supervisor.reports, lambda: True):
        return asyncio.run(supervisor.run())


def work(app: Standalone, host: str, post: Post) -> None:
    """Serve as one of several workers."""
    Lifeline(post, lambda: report(app)).start()
    with closing(listen(host, post.port, shared=True)) as listening:
        serve_streams(app, listening)


def seconds(text: str) -> float:
    """Return the time that was typed."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is no time. Write whole seconds.")
    return float(text)


def number_of_workers(text: str) -> int:
    """Return how many workers were asked for."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"{text!r} is no number of workers. Write 1 or more.")
    # Elsewhere the option exists too, but one socket gets all connections.
    if int(text) > 1 and not (sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")):
        raise ArgumentTypeError("Only Linux spreads connections over workers. Start gateways on ports of their own.")
    return int(text)


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


verb = Serve()
