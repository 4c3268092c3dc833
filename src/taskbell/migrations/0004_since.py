from typing import Any

from django.db import migrations, models
from django.db.models.functions import Coalesce, Now


def date_runs(apps: Any, schema_editor: Any) -> None:
    """What waits begins to wait now, or nobody would ever call it late."""
    runs = apps.get_model("taskbell", "Run").objects.using(schema_editor.connection.alias)
    runs.filter(since=None).update(since=Coalesce("finished_at", Now()))


class Migration(migrations.Migration):
    dependencies = [
        ("taskbell", "0003_trees"),
    ]

    operations = [
        migrations.RenameField(
            model_name="run",
            old_name="waiting_since",
            new_name="since",
        ),
        migrations.RunPython(date_runs, migrations.RunPython.noop),
        migrations.RemoveIndex(
            model_name="run",
            name="taskbell_run_state",
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["state", "since"], name="taskbell_run_state"),
        ),
    ]
