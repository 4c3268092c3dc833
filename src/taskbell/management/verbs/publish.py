import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, OutputWrapper

from taskbell.exceptions import InvalidEvent
from taskbell.management.verbs.base import Verb
from taskbell.store.outbox import publish


class Publish(Verb):
    help = "Publish one event to a channel, or with --user to a person."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("to", help="A channel such as public:news, or with --user a user name.")
        parser.add_argument("type", help="The event's type, for example message.")
        parser.add_argument("payload", help="The payload as JSON.")
        parser.add_argument("--user", action="store_true", help="`to` is the user name of a person.")

    def run(self, out: OutputWrapper, *, to: str, type: str, payload: str, user: bool, **options: Any) -> int:
        try:
            publish(person(to) if user else to, type, json.loads(payload))
        except InvalidEvent as error:
            raise CommandError(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise CommandError(f"The payload is not JSON: {error}. Quote it for the shell: '{{\"a\": 1}}'.") from error
        return 0


def person(name: str) -> Any:
    """Return the account with this user name."""
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name)
    except (users.DoesNotExist, UnicodeEncodeError) as error:
        raise CommandError(f"There is no user named {name!r}.") from error


verb = Publish()
