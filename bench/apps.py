import os
from pathlib import Path

from django.apps import AppConfig


class BenchConfig(AppConfig):
    name = "bench"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        if file := os.environ.get("BENCH_QUERIES"):
            from bench.queries import count_queries

            count_queries(Path(file))
