"""Session engines and authentication backends that a project may write, for the tests to name in their settings."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """Django's own, but for sessions that somebody has blocked."""

    def load(self) -> dict[str, Any]:
        stored = super().load()
        return {} if stored.get("blocked") else stored


class Suspending(ModelBackend):
    """Django's own, but for people who are suspended."""

    def get_user(self, user_id: Any) -> User | None:
        user = super().get_user(user_id)
        return None if user is None or user.first_name == "suspended" else user  # type: ignore[return-value]
