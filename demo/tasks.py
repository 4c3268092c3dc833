"""What the worker does. The page shows the first three of these as they stand here."""

import time

from celery import Task, shared_task
from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from demo.photos import todo
from taskbell import PublicError, notify, publish_result, track


@shared_task(bind=True, max_retries=5)
def work(self: Task, seconds: float) -> float:
    # A plain task. It knows nothing of Taskbell.
    time.sleep(seconds)
    return seconds


@shared_task
def make_pictures(photo: str) -> None:
    made = [picture.make() for picture in track(todo(photo))]
    publish_result({"pictures": made})


@shared_task
def write_report(user_id: int) -> None:
    for _page in track(range(10), _("Writing pages")):
        time.sleep(1)
    user = get_user_model().objects.get(pk=user_id)
    notify(user, _("Your report is ready"), body=_("All ten pages."), url="/#tasks", level="success")


@shared_task(bind=True, max_retries=2)
def deliver(self: Task) -> None:
    time.sleep(1)
    if self.request.retries < self.max_retries:
        raise self.retry(countdown=4, exc=PublicError(_("Nobody opened the door.")))


@shared_task
def read_table() -> None:
    for row in track(range(1, 41), _("Reading rows")):
        time.sleep(0.1)
        if row == 17:
            raise PublicError(_("Row 17 has no date."))


@shared_task
def crash() -> None:
    time.sleep(1)
    raise ConnectionError("db7.internal refused user importer: nothing that a person should read")
