"""Liveness, readiness and metrics on an address of their own, by a thread that waits for nobody."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final

from django.core.management.base import CommandError

from taskbell import metrics
from taskbell.gateway.asgi import LIVE_PATH, READY_PATH
from taskbell.management.serving.listening import family, refusal
from taskbell.management.serving.reports import Report

METRICS_PATH: Final = "/metrics"
# Who asks is a machine of one's own; one that says nothing is not waited for.
PATIENCE_SECONDS: Final = 5.0

Answer = tuple[HTTPStatus, str]


class Status(ThreadingTCPServer):
    """Answers from `reports`: those of all workers by their number, or of the one process without any."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        reports: Callable[[], Sequence[tuple[str, Report]]],
        is_live: Callable[[], bool],
    ) -> None:
        self.address_family = family(address[0])
        self.reports = reports
        self.is_live = is_live
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise CommandError(refusal(*address, error, "--status")) from error

    def start(self) -> None:
        """Answer from now on, on a thread of its own."""
        threading.Thread(target=self.serve_forever, name="taskbell-status", daemon=True).start()

    def answer(self, path: str) -> Answer:
        """Return status and text for a path."""
        if path == LIVE_PATH:
            return _yes_or_no(self.is_live(), "alive", "stands still")
        if path == READY_PATH:
            return _yes_or_no(any(report.get("ready") for _, report in self.reports()), "ready", "not ready")
        if path == METRICS_PATH:
            told = [(worker, report.get("samples", [])) for worker, report in self.reports()]
            return HTTPStatus.OK, metrics.as_text(told)
        return HTTPStatus.NOT_FOUND, f"{LIVE_PATH}, {READY_PATH} or {METRICS_PATH}\n"


@contextmanager
def showing(
    address: tuple[str, int] | None, reports: Callable[[], Sequence[tuple[str, Report]]], is_live: Callable[[], bool]
) -> Iterator[None]:
    """Answer at an address meanwhile; do nothing without one."""
    if address is None:
        yield
        return
    with Status(address, reports, is_live) as status:
        status.start()
        try:
            yield
        finally:
            status.shutdown()


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_SECONDS
    server_version, sys_version = "taskbell", ""
    server: Status

    def do_GET(self) -> None:
        status, text = self.server.answer(self.path.partition("?")[0])
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", metrics.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: it is asked all day."""


def _yes_or_no(answer: bool, yes: str, no: str) -> Answer:
    return (HTTPStatus.OK, f"{yes}\n") if answer else (HTTPStatus.SERVICE_UNAVAILABLE, f"{no}\n")
