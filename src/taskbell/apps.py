from django.apps import AppConfig


class TaskbellConfig(AppConfig):
    name = "taskbell"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from taskbell import checks  # noqa: F401  (registers the system checks)
