"""An app that has a gateway's pusher go by way of the loopback. Everything but the last step is as it always is.

PUSH_TEST_PORT       where the test's push service listens
PUSH_TEST_AUTHORITY  the file of the authority that vouches for it
"""

import os
import ssl
from functools import partial
from typing import Any

from django.apps import AppConfig

from taskbell.inbox.push.config import Config


class DetourConfig(AppConfig):
    name = "tests.inbox.push"
    label = "detour"

    def ready(self) -> None:
        from taskbell.inbox.push.pusher import Pusher
        from taskbell.store.loops import Loop, register

        register(Loop(name="push", seconds=0.2, step=Pusher(_post).step))


def _post(config: Config) -> Any:
    from taskbell.inbox.push.send import Post
    from tests.inbox.push.stage import Detour

    tls = ssl.create_default_context(cafile=os.environ["PUSH_TEST_AUTHORITY"])
    return Post(config, partial(Detour, int(os.environ["PUSH_TEST_PORT"])), tls)
