"""Whom an operator means."""

from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from taskbell.models import KEY_LENGTH
from taskbell.store.outbox import key_of


@dataclass(frozen=True, slots=True)
class Person:
    """The key of an account, and the account if there is one."""

    key: str
    account: Any | None

    def __str__(self) -> str:
        return f"{self.account.get_username()} (key {self.key})" if self.account is not None else f"key {self.key}"


def add_person(parser: ArgumentParser) -> None:
    """Declare how a person is named."""
    parser.add_argument("user", metavar="USER", help="A user name or a primary key.")
    parser.add_argument(
        "--key", action="store_true", help="USER is a primary key, be it of an account that is deleted already."
    )


def named(text: str, *, is_key: bool) -> Person:
    """Return who was named; raises where that is nobody, or might be two."""
    by_key = _by_key(text)
    if is_key:
        if len(text) > KEY_LENGTH or "\0" in text:
            raise CommandError(f"A key has at most {KEY_LENGTH} characters.")
        return Person(text, by_key)
    by_name = _by_name(text)
    if by_name is not None and by_key is not None and by_name.pk != by_key.pk:
        raise CommandError(
            f"{text!r} is the name of the account with the key {key_of(by_name)} and the key of another. "
            "Say which by its key: --key"
        )
    found = by_name if by_name is not None else by_key
    if found is None:
        raise CommandError(
            f"There is no user named {text!r}, and no account with this key. "
            "If the account is deleted already, write its primary key and --key."
        )
    return Person(key_of(found), found)


def _by_name(text: str) -> Any | None:
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(text)
    except (users.DoesNotExist, UnicodeEncodeError, ValueError):
        return None


def _by_key(text: str) -> Any | None:
    users = get_user_model()
    try:
        return users._base_manager.filter(pk=text).first()
    except (ValidationError, ValueError, OverflowError, UnicodeEncodeError):
        return None
