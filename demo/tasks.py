"""What the worker does. The page shows the first two of these as they stand here."""

import time

from celery import Task, shared_task

from demo.photos import todo
from taskbell import publish_result, track


@shared_task(bind=True, max_retries=5)
def work(self: Task, seconds: float) -> float:
    # A plain task. It knows nothing of Taskbell.
    time.sleep(seconds)
    return seconds


@shared_task
def make_pictures(album: str) -> None:
    made = [one.make() for one in track(todo(album), "Making pictures")]
    publish_result({"pictures": made})


@shared_task
def fail() -> None:
    time.sleep(1)
    raise ConnectionError("db7.internal refused user importer: nothing that a person should read")


@shared_task(bind=True, max_retries=2)
def retry_twice(self: Task) -> None:
    time.sleep(1)
    if self.request.retries < self.max_retries:
        raise self.retry(countdown=2)
