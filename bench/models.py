"""What Taskbell's rows are measured beside: rows of the same size that do nothing."""

from django.db import models
from django.utils import timezone


class Plain(models.Model):
    """A row of the outbox's size, inserted as any project inserts its own."""

    kind = models.CharField(max_length=32)
    channel = models.CharField(max_length=128, null=True)
    user_key = models.CharField(max_length=128, null=True)
    type = models.CharField(max_length=64)
    payload = models.TextField()
    latest_key = models.CharField(max_length=128, null=True)
    run_key = models.CharField(max_length=128, null=True)
    task_id = models.CharField(max_length=255, null=True)
    failed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"


class Moved(models.Model):
    """A row of the log's size and index, filled by plain SQL."""

    seq = models.BigIntegerField(primary_key=True)
    nonce = models.CharField(max_length=16)
    channel = models.CharField(max_length=128, null=True)
    type = models.CharField(max_length=64)
    payload = models.TextField()
    latest_key = models.CharField(max_length=128, null=True)
    sequenced_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["channel", "seq"], name="bench_moved_channel")]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"
