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
from taskbell.management.serving.listening import address, listen, port_number, reserve
from taskbell.management.serving.server import need_server, serve_streams
from taskbell.management.serving.supervisor import Supervisor
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

    def run(self, out: OutputWrapper, *, host: str, port: int, workers: int, **options: Any) -> int:
        if (post := Post.inherited()) is not None:
            work(host, post)
            return 0
        need_server()
        alias = router.db_for_write(Log)
        prefix = events_prefix()
        wakeup = chosen_wakeup(alias)
        if trouble := uvicorn_trouble():
            out.write(f"{trouble} Streams may fail.")
        look_at_database(alias, out)
        with closing(listen(host, port) if workers == 1 else reserve(host, port)) as bound:
            many = "" if workers == 1 else f" with {workers} workers"
            out.write(
                f"Taskbell serves streams on http://{address(bound)}{prefix}\n"
                f"Process {os.getpid()}{many}, database {alias!r}, wakeup {wakeup}. Stop it with Ctrl-C or SIGTERM."
            )
            out.flush()
            if workers > 1:
                return asyncio.run(Supervisor(workers, bound.getsockname()[1]).run())
            serve_streams(Standalone(), bound)
        return 0


def work(host: str, post: Post) -> None:
    """Serve as one of several workers."""
    app = Standalone()
    Lifeline(post, app.report).start()
    with closing(listen(host, post.port, shared=True)) as listening:
        serve_streams(app, listening)


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
