"""The tests' settings, with everything from INFO upwards written into a file, a JSON object a line."""

import json
import logging
import os

from tests.settings import *  # noqa: F403


class AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"logger": record.name, "level": record.levelname, "message": record.getMessage()})


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": AsJson}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": os.environ["LOG_FILE"], "formatter": "json"}},
    "root": {"handlers": ["file"], "level": "INFO"},
}
