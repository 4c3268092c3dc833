import os
import time

import requests
from celery import shared_task


@shared_task(bind=True, max_retries=5)
def work(self, seconds, username):
    time.sleep(seconds)
    site = os.environ["SITE"]
    requests.get(f"{site}/tasks/{self.request.id}/", params={"user": username}, timeout=5)
