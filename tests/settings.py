"""The project that the tests run. The environment chooses its database and overrides its `TASKBELL`.

TASKBELL_TEST_DATABASE  a `postgresql://` URI or the path of a SQLite file; without it, a file in a temporary folder
TASKBELL_JSON           a JSON dict merged over `TASKBELL`, so that a test can shorten what it waits for
TASKBELL_TEST_DEBUG     any text turns DEBUG on
"""

import atexit
import json
import os
import shutil
import tempfile

from tests.databases import settings_of


def temporary_file() -> str:
    folder = tempfile.mkdtemp(prefix="taskbell-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return os.path.join(folder, "db.sqlite3")


SECRET_KEY = "known to everyone, and good for nothing but tests"
DEBUG = bool(os.environ.get("TASKBELL_TEST_DEBUG"))
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "taskbell",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "tests.urls"
DATABASES = {"default": settings_of(os.environ.get("TASKBELL_TEST_DATABASE") or temporary_file())}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Signing in is not what is tested; the real hashers take a tenth of a second each.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

USE_TZ = True
# Not UTC, so that a forgotten time zone shows.
TIME_ZONE = "Asia/Seoul"

TASKBELL = {**json.loads(os.environ.get("TASKBELL_JSON") or "{}")}

# Django 6.1 wants to know who sends mail, and tests replace it all the same.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
