"""Tables. Everyone INSERTs into Outbox; only the tick writes Log, LogHead, Run, Notification, Recipient, Forgotten.

The gateway may add a recipient too, and what prunes and erases deletes. No foreign keys: rows of different ages are
deleted apart, and a constraint would make a writer wait.
"""

import uuid
from typing import Final

from django.db import models
from django.utils import timezone

from taskbell.ground.events import CHANNEL_LENGTH, recipient_channel

TYPE_LENGTH: Final = 64
KEY_LENGTH: Final = 128
TASK_ID_LENGTH: Final = 255
TOKEN_LENGTH: Final = 16
MESSAGE_LENGTH: Final = 200
TITLE_LENGTH: Final = 200
SHA256_LENGTH: Final = 64
VIA_LENGTH: Final = 300


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
            # Of the few rows that are searched for otherwise; all others pay nothing for them.
            models.Index(fields=["user_key"], name="taskbell_outbox_forget", condition=models.Q(kind="forget")),
            models.Index(
                fields=["failed_at"], name="taskbell_outbox_failed", condition=models.Q(failed_at__isnull=False)
            ),
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
    # Where the same key was forgotten before: when. What was asked for until then was for that account.
    since = models.DateTimeField(null=True)

    class Meta:
        db_table = "taskbell_recipient"

    def __str__(self) -> str:
        return self.user_key

    @property
    def channel(self) -> str:
        """The channel that only this person's streams read."""
        return recipient_channel(self.id)


class Forgotten(models.Model):
    """An address that nobody has any more, kept until nothing is left that was sent there, and then as a memory.

    `name` stands for the key of the account: whoever is given the same key must not get what was asked for before.
    """

    recipient = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=SHA256_LENGTH, db_index=True)
    since = models.DateTimeField()
    forgotten_at = models.DateTimeField(default=timezone.now)
    erased_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "taskbell_forgotten"
        verbose_name_plural = "forgotten"

    def __str__(self) -> str:
        return str(self.recipient)


class Run(models.Model):
    """One background task as its owner sees it; written by the tick alone, `seq` being its newest log number."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    seq = models.BigIntegerField(default=0)
    engine = models.CharField(max_length=32)
    alias = models.CharField(max_length=64, default="default")
    task_id = models.CharField(max_length=TASK_ID_LENGTH, db_index=True)
    name = models.CharField(max_length=255)
    label = models.CharField(max_length=255)
    recipient = models.UUIDField()
    parent = models.UUIDField(null=True)
    root = models.UUIDField(null=True)
    group_id = models.CharField(max_length=TASK_ID_LENGTH, null=True)
    # Of a run with steps: what is known of each, as JSON. Of a step: its place in `parent`, the places of those that
    # are skipped unless it succeeds, and the run that it replaced.
    steps = models.TextField(null=True)
    step = models.PositiveIntegerField(null=True)
    skips = models.TextField(null=True)
    replaces = models.TextField(null=True)
    state = models.CharField(max_length=16)
    late = models.BooleanField(default=False)
    attempt = models.PositiveIntegerField(default=1)
    execution = models.CharField(max_length=40, default="")
    done = models.FloatField(null=True)
    total = models.FloatField(null=True)
    message = models.CharField(max_length=MESSAGE_LENGTH, null=True)
    progress_at = models.DateTimeField(null=True)
    result = models.TextField(null=True)
    error_message = models.TextField(null=True)
    error_reference = models.CharField(max_length=64, null=True)
    queued_at = models.DateTimeField()
    # Since when it is in its state; of one that waits for a time, that time. By the clock by which gateways fold
    # (store/clock.py): all others are the writers', whose clocks may be wrong by hours.
    since = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    acks_late = models.BooleanField(default=False)
    worker = models.UUIDField(null=True)

    class Meta:
        db_table = "taskbell_run"
        permissions = [("view_content", "Can see what people were told")]
        indexes = [
            models.Index(fields=["recipient", "-queued_at"], name="taskbell_run_recipient"),
            models.Index(fields=["state", "since"], name="taskbell_run_state"),
            models.Index(fields=["worker", "state"], name="taskbell_run_worker"),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.state}"


class Worker(models.Model):
    """A worker's main process; `beat` counts up while it lives, so no clock is compared."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=255)
    beat = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "taskbell_worker"

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    """A message of a person's lasting list, in which `seq`, its log number, is its place; written by the tick alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    seq = models.BigIntegerField(default=0)
    recipient = models.UUIDField()
    title = models.CharField(max_length=TITLE_LENGTH)
    body = models.TextField(default="")
    url = models.TextField(default="")
    level = models.CharField(max_length=16, default="info")
    kind = models.CharField(max_length=64, default="")
    # A second notification with the same key changes nothing: a task that is tried again has told already.
    key = models.CharField(max_length=KEY_LENGTH, null=True)
    run = models.UUIDField(null=True)
    # Ways on which its person is to hear of it, with spaces between.
    via = models.CharField(max_length=VIA_LENGTH, default="")
    created_at = models.DateTimeField()
    seen_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    # When it is due as Web Push; None when it is not, or not any more.
    push_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "taskbell_notification"
        indexes = [
            models.Index(fields=["recipient", "-seq"], name="taskbell_notification_list"),
            models.Index(fields=["recipient", "read_at"], name="taskbell_notification_unread"),
            models.Index(fields=["push_at"], name="taskbell_notification_push"),
            models.Index(fields=["created_at"], name="taskbell_notification_age"),
        ]
        constraints = [models.UniqueConstraint(fields=["recipient", "key"], name="taskbell_notification_key")]

    def __str__(self) -> str:
        # Not its title: what names a row is shown also to those who may not read it.
        return f"{self.level} {self.id}"


class Place(models.Model):
    """How far one of our readers has come in the log, and which process reads for it; moved by that process."""

    name = models.CharField(max_length=32, primary_key=True)
    holder = models.UUIDField()
    log_id = models.CharField(max_length=TOKEN_LENGTH)
    seq = models.BigIntegerField()
    nonce = models.CharField(max_length=TOKEN_LENGTH)

    class Meta:
        db_table = "taskbell_place"

    def __str__(self) -> str:
        return f"{self.name} {self.log_id} {self.seq}"


class PushSubscription(models.Model):
    """Where a browser of a person takes Web Push; written by its view, and by the pusher that finds it gone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    recipient = models.UUIDField(db_index=True)
    # Whoever knows an endpoint can send to it, so it is never logged; MySQL cannot index it whole.
    endpoint = models.TextField()
    endpoint_sha256 = models.CharField(max_length=SHA256_LENGTH, unique=True)
    p256dh = models.CharField(max_length=128)
    auth = models.CharField(max_length=32)
    # Where the browser subscribed: what a click opens must be a whole address.
    origin = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now)
    # Until when the push service wants nothing more.
    retry_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "taskbell_push_subscription"

    def __str__(self) -> str:
        return str(self.id)
