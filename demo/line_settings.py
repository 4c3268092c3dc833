"""The smallest project with a stream: one SQLite file and one public channel."""

import os
import secrets

SECRET_KEY = secrets.token_urlsafe()
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "line_urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "taskbell"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["LINE_DATABASE"],
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

# A file piped in is longer than what a page may miss: whatever came while the gateway was down is to come back.
TASKBELL = {"REPLAY_LIMIT": 10_000_000}
