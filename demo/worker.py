"""The Celery app, as Celery's documentation writes it: `celery -A demo.worker worker`."""

import os

from celery import Celery
from celery.signals import worker_ready

from demo.launcher import WORKER_READY, tell

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")

app = Celery("demo")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["demo"])


@worker_ready.connect
def _ready(**kwargs: object) -> None:
    tell(WORKER_READY)
