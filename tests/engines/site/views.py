"""Views as people write them: none of them mentions Taskbell, but for a `batch`."""

import asyncio
import uuid
from typing import Any

from asgiref.sync import sync_to_async
from celery.result import AsyncResult
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from rest_framework.authentication import TokenAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from taskbell import batch
from tests.engines import tasks
from tests.engines.site.canvases import CANVASES


def answer(task: Any) -> JsonResponse:
    return JsonResponse({"task": str(task)})


# A worker must find the row in which django-celery-results counts the tasks of a chord.
@transaction.non_atomic_requests
@login_required
def enqueue(request: HttpRequest, name: str) -> JsonResponse:
    return enqueue_without_looking(request, name)


def enqueue_without_looking(request: HttpRequest, name: str) -> JsonResponse:
    """Has no use for its user, whom nobody has loaded then."""
    id = str(uuid.uuid4())
    CANVASES[name](tasks.end.si().set(task_id=id)).apply_async()
    return answer(id)


@login_required
def enqueue_on_commit(request: HttpRequest, name: str) -> JsonResponse:
    id = str(uuid.uuid4())
    match name:
        case "on_commit":
            transaction.on_commit(lambda: tasks.end.apply_async(task_id=id))
        case "apply_async_on_commit":
            tasks.end.apply_async_on_commit(task_id=id)
        case "delay_on_commit":
            tasks.hand_on.delay_on_commit(id)
    return answer(id)


@login_required
def enqueue_and_roll_back(request: HttpRequest) -> JsonResponse:
    task = tasks.end.delay()
    transaction.set_rollback(True)
    return answer(task)


@login_required
def enqueue_and_fail(request: HttpRequest) -> JsonResponse:
    tasks.end.apply_async(task_id=request.GET["id"])
    raise RuntimeError("after the task was published")


@api_view(["GET"])
@authentication_classes([TokenAuthentication])
@permission_classes([IsAuthenticated])
def enqueue_by_token(request: Request) -> Response:
    return Response({"task": tasks.end.delay().id})


@transaction.non_atomic_requests
async def enqueue_in_a_coroutine(request: HttpRequest) -> JsonResponse:
    return answer(tasks.end.delay())


@transaction.non_atomic_requests
async def enqueue_in_a_thread(request: HttpRequest) -> JsonResponse:
    @transaction.atomic
    def work() -> AsyncResult:
        return tasks.end.delay()

    return answer(await sync_to_async(work)())


@transaction.non_atomic_requests
async def enqueue_unlisted_in_a_coroutine(request: HttpRequest) -> JsonResponse:
    await request.auser()
    id = str(uuid.uuid4())
    tasks.hand_on.delay(id)
    return answer(id)


@transaction.non_atomic_requests
async def enqueue_a_batch_in_a_coroutine(request: HttpRequest) -> JsonResponse:
    """In the coroutine itself, in threads of their own, and in the one that has the request's connection."""
    with batch("Import 42"):
        tasks.succeed.delay()
        await asyncio.gather(*(sync_to_async(tasks.succeed.delay, thread_sensitive=False)() for _ in range(4)))
        end = await sync_to_async(tasks.end.delay)()
    return answer(end)
