"""The tests' project with its API at a prefix of its own, and CSRF as projects have it."""

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
ROOT_URLCONF = "tests.api.urls"
