"""Pages of Django's admin, where `django.contrib.admin` is installed: it imports this module by itself."""

from taskbell.admin import events, inbox, runs, workers

__all__ = ["events", "inbox", "runs", "workers"]
