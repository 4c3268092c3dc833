"""The tests' project with its Celery application, which a gateway's reaper asks for results."""

from tests.engines.project import app
from tests.settings import *  # noqa: F403

__all__ = ["app"]
