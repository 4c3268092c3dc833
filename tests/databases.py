"""A database is named by one string, an address, from which both Django's settings and a subprocess's follow."""

import os
from typing import Any

# A writer waits for its turn: sixteen of them on two slow cores take longer than SQLite's default of five seconds.
SQLITE_TIMEOUT = 30


def settings_of(address: str) -> dict[str, Any]:
    """Return Django's settings for `address`: a `postgresql://` URI, or the path of a SQLite file."""
    return postgres(address) if address.startswith(("postgresql://", "postgres://")) else sqlite(address)


def sqlite(path: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "timeout": SQLITE_TIMEOUT,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
        # A file, as in real life: Django's own choice for tests, shared memory, knows neither WAL nor a second process.
        "TEST": {"NAME": f"{path}-test"},
    }


def postgres(address: str) -> dict[str, Any]:
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(address)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts["dbname"],
        "USER": parts.get("user") or "",
        "PASSWORD": parts.get("password") or os.environ.get("PGPASSWORD", ""),
        "HOST": parts.get("host") or "",
        "PORT": str(parts.get("port") or ""),
    }
