"""The settings of a small real site; `python -m demo` says by the environment where it lives and where Redis is."""

import hashlib
import os
from pathlib import Path

from django.utils.translation import gettext_lazy as _

PORT = os.environ.get("PORT") or "8000"
STATE = Path(os.environ.get("DEMO_STATE") or Path(__file__).parents[1] / ".demo" / PORT)

SECRET_KEY = os.environ.get("DEMO_SECRET_KEY") or "for a process that was started by hand, and never in production"
PUSH_KEY = os.environ.get("DEMO_PUSH_KEY")
DEBUG = False
# `guest.localhost` is a host of its own to a browser, so it has cookies of its own: there one is the other person.
GUEST_HOST = "guest.localhost"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", GUEST_HOST]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_celery_results",
    "taskbell",
    "demo",
]
MIDDLEWARE = [
    "demo.policy.content_security_policy",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "demo.language.choose_language",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "taskbell.middleware.OwnerMiddleware",
]
ROOT_URLCONF = "demo.urls"
ASGI_APPLICATION = "demo.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
STATIC_URL = "/static/"
MEDIA_ROOT = STATE / "photos"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": STATE / "db.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Browsers keep cookies by host and not by port: two demos would sign each other out.
SESSION_COOKIE_NAME = f"sessionid_{PORT}"

USE_TZ = True
TIME_ZONE = "Asia/Seoul"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ko", "한국어")]
LOCALE_PATHS = [Path(__file__).with_name("locale")]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

CELERY_BROKER_URL = os.environ.get("REDIS_URL") or "memory://"
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_TIME_LIMIT = 30 * 60
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A worker that is killed takes along only what it works on: nothing is fetched ahead, and a retry that waited in it
# comes back after a minute instead of an hour.
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    # Where REDIS_URL is shared, each demo has names of its own.
    "global_keyprefix": f"taskbell-demo-{hashlib.sha256(SECRET_KEY.encode()).hexdigest()[:12]}:",
}

TASKBELL = {
    # In the language of whoever starts them.
    "TASKS": {
        "demo.tasks.work": _("Task"),
        "demo.tasks.make_pictures": _("Photo"),
        "demo.tasks.deliver": _("Delivery"),
        "demo.tasks.read_table": _("Import"),
        "demo.tasks.crash": _("Import"),
        "demo.tasks.write_report": _("Report"),
    },
    # With a push service that can be reached, the browser tells of notifications when no page is open.
    "PUSH": {"PRIVATE_KEY": PUSH_KEY, "CONTACT": "mailto:demo@example.com"} if PUSH_KEY else {},
    # Nobody who tries *Kill the worker* wants to wait for half a minute.
    "LEASE": 5,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
