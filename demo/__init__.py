"""`make demo`: Django, Celery, Redis and a browser, as on a real site; Taskbell says what becomes of the work.

Celery's own convention: its app is made when the project is imported, so that `shared_task` finds it everywhere.
"""

from demo.worker import app as celery_app

__all__ = ["celery_app"]
