"""The Celery application of the tests: `celery -A tests.engines.project worker`.

TASKBELL_TEST_BROKER      a `redis://` address without a database: 0 is the broker, 1 the result backend
TASKBELL_TEST_REDELIVERY  after how many seconds the broker hands out again what nobody acknowledged; default: an hour
TASKBELL_TEST_CELERY      a JSON dict of Celery's settings, over those below
"""

import json
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.engines.settings")


app = Celery("tests", include=["tests.engines.tasks", "tests.engines.ways_to_end"])
app.conf.update(
    task_track_started=True,
    broker_connection_retry_on_startup=True,
    # As in the original request; also so that a task's whole prefetch does not die with one child.
    worker_prefetch_multiplier=1,
    timezone="Asia/Seoul",
    beat_schedule={
        "nobody's": {"task": "tests.engines.tasks.succeed", "schedule": 1.0},
        "everyone's": {"task": "hidden.for_everyone", "schedule": 1.0, "args": ["ada"]},
    },
)
if broker := os.environ.get("TASKBELL_TEST_BROKER"):
    app.conf.update(broker_url=f"{broker}/0", result_backend=f"{broker}/1")
if seconds := os.environ.get("TASKBELL_TEST_REDELIVERY"):
    app.conf.update(broker_transport_options={"visibility_timeout": float(seconds)})
app.conf.update(json.loads(os.environ.get("TASKBELL_TEST_CELERY") or "{}"))
