"""`taskbell.middleware.OwnerMiddleware`: what a request enqueues belongs to its user."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from taskbell.runs.owner import has_unwritten, in_request
from taskbell.runs.writer import writer

# A database that takes longer keeps the answer no longer; the run is then seen a little later.
MOST_WAIT: Final = 0.5
LOOK_AGAIN: Final = 0.005

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class OwnerMiddleware:
    """Keeps the request, not the user, in a context variable: the user is read when a task is enqueued."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._async(request)
        with in_request(request):
            return self.get_response(request)

    async def _async(self, request: HttpRequest) -> HttpResponseBase:
        with in_request(request):
            response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
        if has_unwritten(request):
            await _until_written()
        return response


async def _until_written() -> None:
    """Wait a moment for the writer: whoever reads the response may ask for the run at once."""
    deadline = time.monotonic() + MOST_WAIT
    while not writer.idle and time.monotonic() < deadline:  # noqa: ASYNC110  another thread writes
        await asyncio.sleep(LOOK_AGAIN)
