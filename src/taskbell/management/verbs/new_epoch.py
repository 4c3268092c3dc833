from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.db import router

from taskbell.management.verbs.base import Verb
from taskbell.models import Log
from taskbell.store.head import new_epoch


class NewEpoch(Verb):
    help = "Begin a new history, so that every page reloads what it shows; for after a restore by hand."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="Do not ask.")

    def run(self, out: OutputWrapper, *, yes: bool, **options: Any) -> int:
        if not yes and not agreed():
            out.write("Nothing was changed.")
            return 1
        out.write(new_epoch(router.db_for_write(Log)))
        return 0


def agreed() -> bool:
    """Ask, and return whether the answer was yes."""
    try:
        answer = input("Every open page will be told to load again all that it shows. Go on? [y/N] ")
    except EOFError as error:
        raise CommandError("Nobody is there to be asked. Add --yes.") from error
    return answer.strip().lower() in {"y", "yes"}


verb = NewEpoch()
