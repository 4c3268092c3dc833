"""Running a verb in the test's own process, on the test's own database."""

import io
from typing import Any

from django.core.management import call_command
from django.db import router

from taskbell import publish
from taskbell.models import Outbox
from taskbell.store.head import create_head
from taskbell.store.tick import NoHead, Ticker


def taskbell(verb: str, *arguments: str, **options: Any) -> tuple[int, str]:
    """Return the exit status and what was printed."""
    out = io.StringIO()
    try:
        call_command("taskbell", verb, *arguments, stdout=out, **options)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def say(*payloads: Any, channel: str = "public:news") -> None:
    """Publish messages and number them."""
    for payload in payloads:
        publish(channel, "message", payload)
    number()


def number() -> None:
    """Tick until nothing waits."""
    alias = router.db_for_write(Outbox)
    ticker = Ticker(alias)
    while isinstance(ticker.tick(), NoHead):
        create_head(alias)
