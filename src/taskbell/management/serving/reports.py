"""What a process that serves says of itself, as plain as JSON."""

from typing import Any

from taskbell import metrics
from taskbell.gateway.asgi import Standalone

Report = dict[str, Any]


def report(app: Standalone) -> Report:
    """Return how a gateway is: whether it is ready, how long its event loop stood still, and its metrics."""
    gateway = app.gateway
    return {
        "ready": gateway is not None and gateway.ready,
        "stood_still": gateway.stood_still if gateway is not None else 0.0,
        "samples": metrics.samples(gateway),
    }
