"""The tests' project with Django's admin as `startproject` has it, under a policy that forbids inline scripts."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.admin.urls"
INSTALLED_APPS = [
    *INSTALLED_APPS,  # noqa: F405
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    *MIDDLEWARE,  # noqa: F405
    "django.contrib.messages.middleware.MessageMiddleware",
    "tests.admin.urls.policy",
]
STATIC_URL = "/static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
