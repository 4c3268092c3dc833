import uuid

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("taskbell", "0004_since"),
    ]

    operations = [
        migrations.CreateModel(
            name="PushSubscription",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("recipient", models.UUIDField(db_index=True)),
                ("endpoint", models.TextField()),
                ("endpoint_sha256", models.CharField(max_length=64, unique=True)),
                ("p256dh", models.CharField(max_length=128)),
                ("auth", models.CharField(max_length=32)),
                ("origin", models.CharField(max_length=255)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("retry_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "taskbell_push_subscription",
            },
        ),
        migrations.CreateModel(
            name="Place",
            fields=[
                ("name", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("holder", models.UUIDField()),
                ("log_id", models.CharField(max_length=16)),
                ("seq", models.BigIntegerField()),
                ("nonce", models.CharField(max_length=16)),
            ],
            options={
                "db_table": "taskbell_place",
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField(default=0)),
                ("recipient", models.UUIDField()),
                ("title", models.CharField(max_length=200)),
                ("body", models.TextField(default="")),
                ("url", models.TextField(default="")),
                ("level", models.CharField(default="info", max_length=16)),
                ("kind", models.CharField(default="", max_length=64)),
                ("key", models.CharField(max_length=128, null=True)),
                ("run", models.UUIDField(null=True)),
                ("via", models.CharField(default="", max_length=300)),
                ("created_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField(null=True)),
                ("read_at", models.DateTimeField(null=True)),
                ("push_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "taskbell_notification",
                "indexes": [
                    models.Index(fields=["recipient", "-seq"], name="taskbell_notification_list"),
                    models.Index(fields=["recipient", "read_at"], name="taskbell_notification_unread"),
                    models.Index(fields=["push_at"], name="taskbell_notification_push"),
                    models.Index(fields=["created_at"], name="taskbell_notification_age"),
                ],
                "constraints": [models.UniqueConstraint(fields=("recipient", "key"), name="taskbell_notification_key")],
            },
        ),
    ]
