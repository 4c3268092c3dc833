"""The tests' project, whose gateways send Web Push to the test's own service."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.inbox.push.detour.DetourConfig"]
ROOT_URLCONF = "tests.browser.urls"
