from argparse import ArgumentParser, ArgumentTypeError
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import OutputWrapper
from django.db import router

from taskbell.management.hops.examine import USUAL_ORIGIN, examine
from taskbell.management.verbs.base import Verb
from taskbell.management.verbs.publish import person
from taskbell.models import Outbox


class Doctor(Verb):
    help = "Send an event along the whole way and name the hop that fails; exit status 1 if any did."

    @property
    def checked(self) -> bool:
        return False  # what the checks find is told here, among the rest

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--url",
            type=address_of_streams,
            help=f"Where browsers read streams, like https://mysite.example/events/ (default: on {USUAL_ORIGIN}).",
        )

        parser.add_argument("--user", metavar="NAME", help="Sign in as this person for a moment, and try their stream.")

    def run(self, out: OutputWrapper, *, url: str | None, user: str | None, **options: Any) -> int:
        failed = 0
        for finding in examine(router.db_for_write(Outbox), url, person(user) if user else None):
            out.write(f"{finding.grade:<5} {finding.hop:<9} {finding.text}")
            if finding.advice:
                out.write(f"{'':15} -> {finding.advice}")
            out.flush()
            failed += finding.grade == "FAIL"
        return 1 if failed else 0


def address_of_streams(text: str) -> str:
    """Return the address that was typed."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ArgumentTypeError(f"{text!r} is no address. Write it as a browser has it: https://mysite.example/events/")
    return text


verb = Doctor()
