"""Settings of the benchmark's project; README.md says how to use them by hand.

`BENCH_DB` names the SQLite file (default: one in the system's folder for temporary files), `BENCH_PG` is the address or
the conninfo of a PostgreSQL database and comes before it. `BENCH_ALONE` leaves Taskbell out. `BENCH_SYNCHRONOUS` is
SQLite's `synchronous`.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

WITHOUT_LIMIT = 1_000_000
SYNCHRONOUS = os.environ.get("BENCH_SYNCHRONOUS", "FULL")


def sqlite(name: str) -> dict[str, Any]:
    """Return the database that a project on one machine uses: a write-ahead log, and write transactions that say so."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            # FULL is SQLite's default: a commit is on the disk when it returns, as PostgreSQL's is.
            "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={SYNCHRONOUS};",
        },
    }


def postgres(conninfo: str) -> dict[str, Any]:
    """Return the database that `conninfo` (an address or key=value pairs) describes."""
    from psycopg.conninfo import conninfo_to_dict

    options = dict(conninfo_to_dict(conninfo))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname", "postgres"),
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": str(options.pop("port", "")),
        "OPTIONS": options,
    }


DATABASES = {
    "default": postgres(os.environ["BENCH_PG"])
    if os.environ.get("BENCH_PG")
    else sqlite(os.environ.get("BENCH_DB") or str(Path(tempfile.gettempdir()) / "taskbell-bench.sqlite3"))
}

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "taskbell",
    "bench",
]
if os.environ.get("BENCH_ALONE"):
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app.startswith("django.")]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "django.contrib.auth.urls" if os.environ.get("BENCH_ALONE") else "bench.urls"
# Every process of one run reads the same sessions; nothing here is worth a secret.
SECRET_KEY = "only for measuring, on loopback"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# One load tool is all the persons and addresses of a benchmark.
TASKBELL = {
    "STREAMS_PER_ADDRESS": WITHOUT_LIMIT,
    "STREAMS_PER_PERSON": WITHOUT_LIMIT,
    "TASKS": {"bench.listed": "Measured"},
    **json.loads(os.environ.get("BENCH_TASKBELL") or "{}"),
}
