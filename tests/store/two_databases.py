"""The tests' project with accounts and sessions in a database of their own, TASKBELL_TEST_USERS."""

import os
from typing import Any

from tests.databases import settings_of
from tests.settings import *  # noqa: F403  a settings module is extended so
from tests.settings import DATABASES

DATABASES = {**DATABASES, "users": settings_of(os.environ["TASKBELL_TEST_USERS"])}
DATABASE_ROUTERS = ["tests.store.two_databases.Router"]


class Router:
    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "users" if model._meta.app_label in ("auth", "sessions") else None

    db_for_write = db_for_read
