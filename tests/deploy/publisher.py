"""publisher.py USERNAME A_SECOND: publish to a person until SIGTERM, and print each number when its commit returns."""

import signal
import sys
import threading
import time

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  models need the setup

from taskbell import publish  # noqa: E402

ending = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ending.set())
user, pause = User.objects.get(username=sys.argv[1]), 1 / float(sys.argv[2])
number = 0
while not ending.is_set():
    publish(user, "message", {"n": number, "at": time.time()})
    print(number, flush=True)
    number += 1
    time.sleep(pause)
