"""The tests' project with a page in it."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.browser.urls"
