"""The tests' project with an app that listens to signals."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.inbox.listening.Listening"]
