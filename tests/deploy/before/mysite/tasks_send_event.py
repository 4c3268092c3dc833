import time

from celery import shared_task
from django_eventstream import send_event


@shared_task(bind=True, max_retries=5)
def work(self, seconds, username):
    time.sleep(seconds)
    send_event(f"user-{username}", "message", {"msg": "Task finished", "task_id": self.request.id})
