"""An app whose receiver writes what it hears into the file TASKBELL_TEST_HEARD, a line each, with its process."""

import os
from typing import Any

from django.apps import AppConfig


class Listening(AppConfig):
    name = "tests.inbox"
    label = "listening"

    def ready(self) -> None:
        from taskbell.signals import notified

        notified.connect(write_down)


def write_down(notification: Any, **values: Any) -> None:
    with open(os.environ["TASKBELL_TEST_HEARD"], "a") as file:
        file.write(f"{os.getpid()} {notification.title}\n")
