"""Hints that outbox or log grew. With every one of them lost, events arrive within the poll interval."""

from importlib.util import find_spec
from typing import Final, Literal

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from taskbell import conf
from taskbell.wakeups.base import Listener, Wakeup

__all__ = ["Kind", "Listener", "Wakeup", "configured", "kind", "must_ring"]

Kind = Literal["poll", "sqlite", "postgres", "redis"]

# Each is imported only when chosen: Redis and psycopg may not be installed.
_HOMES: Final[dict[Kind, str]] = {
    "poll": "taskbell.wakeups.poll.Poll",
    "sqlite": "taskbell.wakeups.sqlite.SQLite",
    "postgres": "taskbell.wakeups.postgres.Postgres",
    "redis": "taskbell.wakeups.redis.Redis",
}
_OF_VENDOR: Final[dict[str, Kind]] = {"sqlite": "sqlite", "postgresql": "postgres"}
_REDIS_ADDRESSES: Final = ("redis://", "rediss://", "unix://")


def configured(alias: str) -> Wakeup:
    """Return a new wakeup for a database alias, as `TASKBELL["WAKEUP"]` says; raises `ImproperlyConfigured`."""
    wakeup: Wakeup = import_string(_HOMES[kind(alias)])(alias)
    return wakeup


def must_ring(alias: str) -> bool:
    """Tell whether anybody hears `ring`; where nobody does, a commit costs no thread."""
    return kind(alias) in {"postgres", "redis"}


def kind(alias: str) -> Kind:
    """Return which wakeup the settings choose; raises `ImproperlyConfigured` where they choose none."""
    choice, vendor = conf.current().WAKEUP, connections[alias].vendor
    if choice == "auto":
        return _best_for(vendor)
    if choice == "poll":
        return "poll"
    if choice == "postgres":
        return _checked_postgres(alias, vendor)
    if str(choice).startswith(_REDIS_ADDRESSES):
        _need("redis", "redis")
        return "redis"
    # The value is not repeated: a mistyped address may hold a password.
    raise ImproperlyConfigured(
        "TASKBELL['WAKEUP'] is 'auto', 'poll', 'postgres', or the address of a Redis or Valkey: "
        "'redis://localhost:6379/0', 'rediss://…', 'unix:///run/redis.sock'. It is none of these now."
    )


def _best_for(vendor: str) -> Kind:
    # A project that is still on psycopg 2 polls, until it installs what listens or names a Redis.
    if vendor == "postgresql" and find_spec("psycopg") is None:
        return "poll"
    return _OF_VENDOR.get(vendor, "poll")


def _checked_postgres(alias: str, vendor: str) -> Kind:
    if vendor != "postgresql":
        raise ImproperlyConfigured(
            f"TASKBELL['WAKEUP'] is 'postgres', but the database {alias!r} is {vendor}. Use 'auto', or a Redis address."
        )
    _need("psycopg", "postgres")
    return "postgres"


def _need(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise ImproperlyConfigured(f"TASKBELL['WAKEUP'] needs {module}: pip install 'taskbell[{extra}]'.")
