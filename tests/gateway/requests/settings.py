"""The tests' project, as a site in the open has it: with hosts and origins of its own."""

from tests.settings import *  # noqa: F403

ALLOWED_HOSTS = ["127.0.0.1"]
CSRF_TRUSTED_ORIGINS = ["https://friend.example"]
