"""`manage.py taskbell VERB`: the door for operators."""

import sys
from importlib import import_module
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from taskbell.management.verbs.base import Verb

VERBS: Final = ("serve", "doctor", "status", "prune", "tail", "publish", "new-epoch")


class Command(BaseCommand):
    help = "Run and look after Taskbell's gateway."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for name in VERBS:
            verb = load(name)
            verb.add_arguments(verbs.add_parser(name, help=verb.help, description=verb.help))

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        status = load(verb).run(self.stdout, **options)
        if status:
            sys.exit(status)


def load(name: str) -> Verb:
    """Return the verb of this name; each lives in a module of its own."""
    module = import_module(f"taskbell.management.verbs.{name.replace('-', '_')}")
    verb: Verb = module.verb
    return verb
