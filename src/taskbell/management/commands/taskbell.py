"""`manage.py taskbell VERB`: the door for operators."""

import sys
from argparse import SUPPRESS
from importlib import import_module
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.db import Error as DatabaseError
from django.db import router

from taskbell.management.database import first_line, trouble_with
from taskbell.management.verbs.base import Verb
from taskbell.models import Outbox

VERBS: Final = (
    "serve", "doctor", "status", "prune", "tail", "publish", "forget", "export", "new-epoch", "vapid-keys",
)  # fmt: skip


class Command(BaseCommand):
    help = "Run and look after Taskbell's gateway."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for name in VERBS:
            verb = load(name)
            verb.add_arguments(
                verbs.add_parser(
                    name,
                    help=verb.help,
                    description=verb.help,
                    parents=[common_options()],
                    formatter_class=DjangoHelpFormatter,
                )
            )

    def execute(self, *args: Any, **options: Any) -> str | None:
        options["skip_checks"] = options.get("skip_checks") or not load(options["verb"]).checked
        return super().execute(*args, **options)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            status = load(verb).run(self.stdout, **options)
        except DatabaseError as error:
            trouble = trouble_with(router.db_for_write(Outbox))
            raise CommandError(str(trouble or first_line(error))) from error
        if status:
            sys.exit(status)


def load(name: str) -> Verb:
    """Return the verb of this name; each lives in a module of its own."""
    module = import_module(f"taskbell.management.verbs.{name.replace('-', '_')}")
    verb: Verb = module.verb
    return verb


def common_options() -> CommandParser:
    """Return the options of every Django command, so that they may stand after the verb too."""
    parser = BaseCommand().create_parser("", "taskbell", add_help=False)
    for action in parser._actions:
        # What stood before the verb must not be undone by a default behind it.
        action.default = SUPPRESS
    return parser
