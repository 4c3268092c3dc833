"""Tasks that end in unusual ways. What shall happen once only leaves a mark in a file, which a redelivery finds."""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

import taskbell


def is_first(mark: str) -> bool:
    """Tell whether nobody has asked with this mark before."""
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@shared_task(acks_late=True)
def sleep_once(mark: str, seconds: float) -> None:
    if is_first(mark):
        time.sleep(seconds)


@shared_task(bind=True, max_retries=1)
def retry_after(self: Any, seconds: float) -> None:
    if self.request.retries == 0:
        raise self.retry(countdown=seconds)


@shared_task(bind=True)
def ignore_with_state(self: Any) -> None:
    self.update_state(state="HALFWAY")
    raise Ignore


@shared_task
def reject() -> None:
    raise Reject("not for me")


@shared_task(acks_late=True)
def reject_late(requeue: bool = False) -> None:
    raise Reject("not for me", requeue=requeue)


@shared_task
def reject_publicly() -> None:
    raise Reject(taskbell.PublicError("There is no such photo."))


@shared_task
def requeue_in_vain() -> None:
    """Wants to be put back, but its message was acknowledged when it began."""
    raise Reject("later", requeue=True)


@shared_task(acks_late=True)
def requeue_once(mark: str) -> None:
    if is_first(mark):
        raise Reject("later", requeue=True)


@shared_task
def sleep_softly(seconds: float) -> str:
    """Ends early at its soft limit, and says that it is done."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "cut short"
    return "slept"


@shared_task
def compute() -> None:
    """Stays in C code, where no signal handler of Python runs."""
    hashlib.pbkdf2_hmac("sha512", b"", b"", 500_000_000)


@shared_task(acks_late=True)
def die_late() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def die_once(mark: str) -> None:
    if is_first(mark):
        os.kill(os.getpid(), signal.SIGKILL)


@shared_task(retry_on_worker_lost=True, default_retry_delay=1)
def die_once_and_retry(mark: str) -> None:
    if is_first(mark):
        os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def exit_from_python() -> None:
    sys.exit("enough")


@shared_task
def exit_at_once() -> None:
    os._exit(3)


@shared_task
def run_out_of_memory() -> None:
    raise MemoryError


@shared_task
def return_what_is_no_json() -> Any:
    return object()


@shared_task(ignore_result=True)
def fail_without_result() -> None:
    raise ValueError


class FailsBefore(Task):
    def before_start(self, *args: Any) -> None:
        raise ValueError


class FailsAfter(Task):
    def on_success(self, *args: Any) -> None:
        raise ValueError


@shared_task(base=FailsBefore)
def fail_before_start() -> None:
    pass


@shared_task(base=FailsAfter)
def fail_after_success() -> None:
    pass


@shared_task
def hold_an_eager_one(mark: str) -> None:
    """Runs a task within itself, and dies in it."""
    inner.apply([mark])


@shared_task
def inner(mark: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
