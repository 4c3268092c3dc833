import time
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import CommandError, OutputWrapper
from django.db import router

from taskbell.management.people import Person, add_person, named
from taskbell.management.verbs.base import Verb
from taskbell.models import Forgotten, Outbox
from taskbell.store.control import ControlEvent, tell
from taskbell.store.forgotten import name_of
from taskbell.store.people import forgotten_upto

# A running gateway takes a poll interval for the first and begins the rest within a second.
WAIT_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.05


class Forget(Verb):
    help = "Erase everything that is kept of a person; their account is left to you."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_person(parser)
        parser.add_argument("--yes", action="store_true", help="Do not ask.")

    def run(self, out: OutputWrapper, *, user: str, key: bool, yes: bool, **options: Any) -> int:
        person, alias = named(user, is_key=key), router.db_for_write(Outbox)
        if not yes and not agreed(person):
            out.write("Nothing was changed.")
            return 1
        tell([ControlEvent("deleted", person.key)], using=alias)
        out.write(outcome(person, alias, time.monotonic() + WAIT_SECONDS))
        return 0


def agreed(person: Person) -> bool:
    """Ask, and return whether the answer was yes."""
    try:
        answer = input(f"Everything of {person} will be erased, and nothing brings it back. Go on? [y/N] ")
    except EOFError as error:
        raise CommandError("Nobody is there to be asked. Add --yes.") from error
    return answer.strip().lower() in {"y", "yes"}


def outcome(person: Person, alias: str, deadline: float) -> str:
    """Wait until the deadline, and return what has become of it."""
    if not _within(deadline, lambda: not forgotten_upto(person.key, alias)):
        return (
            f"It is noted that {person} is to be forgotten, and no gateway runs that would do it: the next one does, "
            "before anything else that waits after it."
        )
    of_theirs = Forgotten.objects.using(alias).filter(name=name_of(person.key), erased_at=None)
    if not _within(deadline, lambda: not of_theirs.exists()):
        return f"{person} is forgotten: nobody can read any of it any more. A gateway goes on deleting; see `status`."
    return f"{person} is forgotten, and everything is erased."


def _within(deadline: float, true: Any) -> bool:
    while not (found := bool(true())) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return found


verb = Forget()
