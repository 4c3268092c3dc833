from django.apps import AppConfig


class TaskbellConfig(AppConfig):
    name = "taskbell"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from taskbell import checks  # noqa: F401  (registers the system checks)
        from taskbell.store.loops import Loop, register
        from taskbell.store.prune import PRUNE_SECONDS, prune

        register(Loop(name="prune", seconds=PRUNE_SECONDS, step=prune))
