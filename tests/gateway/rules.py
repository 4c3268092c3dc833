"""What a project may say about access, for the tests to name in their settings."""

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest


def own_projects(user: User | AnonymousUser, channel: str) -> bool:
    """`project:<user name>` is for that user, `team:all` for everyone who is signed in."""
    return channel == f"project:{user.get_username()}" or (channel == "team:all" and user.is_authenticated)


def by_token(request: HttpRequest) -> User | None:
    """`Authorization: Bearer <primary key>`, as an API of single-page applications might have it."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return User.objects.filter(pk=int(token)).first() if kind == "Bearer" and token.isdigit() else None


def broken(user: Any, channel: str) -> bool:
    raise LookupError(f"no rule for {channel}")


def by_group(user: User | AnonymousUser, channel: str) -> bool:
    """`group:<name>` is for the members of that group."""
    return user.groups.filter(name=channel.partition(":")[2]).exists()
