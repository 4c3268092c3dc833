"""The tests' project with pages: templates, static files, the API, and a policy that forbids what is not ours."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.browser.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.staticfiles"]  # noqa: F405
MIDDLEWARE = [*MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware", "tests.browser.pages.policy"]  # noqa: F405
STATIC_URL = "/static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
