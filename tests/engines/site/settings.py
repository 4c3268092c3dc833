"""A whole site: requests with sessions and tokens, a transaction around each view, and rows for results.

TASKBELL_TEST_RESULTS  "django-db" for results in the database; else they are where tests.engines.project has them
TASKBELL_TEST_QUEUE    where tasks are published
"""

import os

from tests.engines.project import app
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework", "rest_framework.authtoken", "django_celery_results"]
MIDDLEWARE = [*MIDDLEWARE, "taskbell.middleware.OwnerMiddleware"]
ROOT_URLCONF = "tests.engines.site.urls"
DATABASES = {"default": DATABASES["default"] | {"ATOMIC_REQUESTS": True}}

app.conf.update(task_default_queue=os.environ["TASKBELL_TEST_QUEUE"])
if results := os.environ.get("TASKBELL_TEST_RESULTS"):
    app.conf.update(result_backend=results)
