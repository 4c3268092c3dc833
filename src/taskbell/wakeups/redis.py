from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
from django.utils.crypto import salted_hmac
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskbell import conf
from taskbell.exceptions import WakeupUnavailable
from taskbell.wakeups.server import ANSWER_TIME, ServerWakeup

# 64 bits: two sites on one Redis that meet by chance would only wake each other.
NAME_LENGTH: Final = 16


class Redis(ServerWakeup):
    """Pub/Sub of Redis or Valkey, at the address that WAKEUP names. Nothing is stored there."""

    name = "Redis"
    hint = "WAKEUP must name the primary, by a user who may SUBSCRIBE and PUBLISH to `taskbell:*`."

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._address = conf.current().WAKEUP
        self._channel = channel_of(alias)

    def open_sender(self) -> "_Sender":
        return _Sender(_client(self._address), self._channel)

    def open_receiver(self) -> "_Receiver":
        return _Receiver(_client(self._address), self._channel)


class _Sender:
    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client, self._channel = client, channel

    def send(self, payload: bytes) -> None:
        with _told_as_unavailable():
            self._client.publish(self._channel, payload)

    def close(self) -> None:
        self._client.close()


class _Receiver:
    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client, self._channel = client, channel
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        with _told_as_unavailable():
            self._pubsub.subscribe(self._channel)

    def receive(self, timeout: float) -> list[bytes]:
        with _told_as_unavailable():
            message = self._pubsub.get_message(timeout=timeout)
        return [message["data"]] if message else []

    def close(self) -> None:
        self._pubsub.close()
        self._client.close()


def channel_of(alias: str) -> str:
    """Return the channel on which this site rings for a database alias; other sites on the same Redis have others."""
    return "taskbell:" + salted_hmac("taskbell.wakeup", alias, algorithm="sha256").hexdigest()[:NAME_LENGTH]


def _client(address: str) -> redis.Redis:
    return redis.Redis.from_url(
        address,
        socket_timeout=ANSWER_TIME,
        socket_connect_timeout=ANSWER_TIME,
        # Trying again is our business: one failure is told at once, so that everything stays bounded in time.
        retry=Retry(NoBackoff(), 0, supported_errors=()),
        # The older protocol is what every server and proxy speaks.
        protocol=2,
    )


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise WakeupUnavailable(str(error) or error.__class__.__name__) from error
