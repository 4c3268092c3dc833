import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Plain",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=32)),
                ("channel", models.CharField(max_length=128, null=True)),
                ("user_key", models.CharField(max_length=128, null=True)),
                ("type", models.CharField(max_length=64)),
                ("payload", models.TextField()),
                ("latest_key", models.CharField(max_length=128, null=True)),
                ("run_key", models.CharField(max_length=128, null=True)),
                ("task_id", models.CharField(max_length=255, null=True)),
                ("failed_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name="Moved",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("nonce", models.CharField(max_length=16)),
                ("channel", models.CharField(max_length=128, null=True)),
                ("type", models.CharField(max_length=64)),
                ("payload", models.TextField()),
                ("latest_key", models.CharField(max_length=128, null=True)),
                ("sequenced_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"indexes": [models.Index(fields=["channel", "seq"], name="bench_moved_channel")]},
        ),
    ]
