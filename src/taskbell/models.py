"""Tables. Everyone INSERTs into Outbox; only the tick writes Log, LogHead and (with the gateway) Recipient.

No foreign keys: rows of different ages are deleted apart, and a constraint would make a writer wait.
"""

import uuid
from typing import Final

from django.db import models
from django.utils import timezone

from taskbell.ground.events import CHANNEL_LENGTH

TYPE_LENGTH: Final = 64
KEY_LENGTH: Final = 128
TASK_ID_LENGTH: Final = 255
TOKEN_LENGTH: Final = 16


class Outbox(models.Model):
    """A row waiting in its writer's transaction for the tick."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=32)
    channel = models.CharField(max_length=CHANNEL_LENGTH, null=True)
    user_key = models.CharField(max_length=KEY_LENGTH, null=True)
    type = models.CharField(max_length=TYPE_LENGTH)
    payload = models.TextField()
    latest_key = models.CharField(max_length=KEY_LENGTH, null=True)
    run_key = models.CharField(max_length=KEY_LENGTH, null=True)
    task_id = models.CharField(max_length=TASK_ID_LENGTH, null=True)
    failed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "taskbell_outbox"
        verbose_name_plural = "outbox"
        indexes = [
            models.Index(fields=["run_key"], name="taskbell_outbox_run"),
            models.Index(fields=["task_id"], name="taskbell_outbox_task"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Log(models.Model):
    """A numbered event; channel and payload become empty when the event is blanked, the number stays."""

    seq = models.BigIntegerField(primary_key=True)
    nonce = models.CharField(max_length=TOKEN_LENGTH)
    channel = models.CharField(max_length=CHANNEL_LENGTH, null=True)
    type = models.CharField(max_length=TYPE_LENGTH)
    payload = models.TextField()
    latest_key = models.CharField(max_length=KEY_LENGTH, null=True)
    sequenced_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "taskbell_log"
        verbose_name_plural = "log"
        indexes = [models.Index(fields=["channel", "seq"], name="taskbell_log_channel")]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"


class LogHead(models.Model):
    """The single row that every tick locks: newest number, oldest replayable number, name of this history."""

    one = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    floor = models.BigIntegerField(default=1)
    log_id = models.CharField(max_length=TOKEN_LENGTH)

    class Meta:
        db_table = "taskbell_log_head"

    def __str__(self) -> str:
        return f"{self.log_id} {self.floor}–{self.seq}"


class Recipient(models.Model):
    """A person's own address; a new account with an old key gets a new one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user_key = models.CharField(max_length=KEY_LENGTH, unique=True)

    class Meta:
        db_table = "taskbell_recipient"

    def __str__(self) -> str:
        return self.user_key

    @property
    def channel(self) -> str:
        """The channel that only this person's streams read."""
        return f"user:{self.id}"
