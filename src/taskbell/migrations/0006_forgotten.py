import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("taskbell", "0005_inbox"),
    ]

    operations = [
        migrations.CreateModel(
            name="Forgotten",
            fields=[
                ("recipient", models.UUIDField(primary_key=True, serialize=False)),
                ("name", models.CharField(db_index=True, max_length=64)),
                ("since", models.DateTimeField()),
                ("forgotten_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("erased_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "taskbell_forgotten",
                "verbose_name_plural": "forgotten",
            },
        ),
        migrations.AddField(
            model_name="recipient",
            name="since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="outbox",
            index=models.Index(
                condition=models.Q(("kind", "forget")), fields=["user_key"], name="taskbell_outbox_forget"
            ),
        ),
        migrations.AddIndex(
            model_name="outbox",
            index=models.Index(
                condition=models.Q(("failed_at__isnull", False)), fields=["failed_at"], name="taskbell_outbox_failed"
            ),
        ),
        migrations.AlterModelOptions(
            name="run",
            options={"permissions": [("view_content", "Can see what people were told")]},
        ),
    ]
