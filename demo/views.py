"""The page and the demo's own API. What is Taskbell's here: one tag a thing in the template, and `get_run`."""

import inspect
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from demo import launcher, photos, samples, tasks
from demo.listing import highlight
from taskbell import get_run

PEOPLE: Final = ("demo", "guest")
LOOPBACK: Final = ("127.0.0.1", "::1")
LONGEST_SECONDS: Final = 600


@require_safe
@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """The page. Whoever sits at this machine is signed in by opening it: as `demo`, or on the other host as `guest`."""
    host = request.get_host().partition(":")[0]
    if not request.user.is_authenticated and request.META.get("REMOTE_ADDR") in LOOPBACK:
        _sign_in(request, "guest" if host == settings.GUEST_HOST else "demo")
    elsewhere = "127.0.0.1" if host == settings.GUEST_HOST else settings.GUEST_HOST
    shown = {
        "people": PEOPLE,
        "other": next((name for name in PEOPLE if name != request.user.get_username()), ""),
        "elsewhere": f"http://{elsewhere}:{request.get_port()}/",
        "listings": [highlight(inspect.getsource(task.run)) for task in (tasks.work, tasks.make_pictures)],
    }
    return render(request, "demo/page.html", shown)


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Be one of the two people; there are no passwords, because the demo answers nobody but its own machine."""
    name = request.POST.get("user", "")
    if name not in PEOPLE:
        return HttpResponse(f"`user` is one of: {', '.join(PEOPLE)}.\n", status=400, content_type="text/plain")
    _sign_in(request, name)
    return redirect("page")


def _sign_in(request: HttpRequest, name: str) -> None:
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user)


class Wish(serializers.Serializer):
    seconds = serializers.FloatField(default=5, min_value=0, max_value=LONGEST_SECONDS)


class Tasks(APIView):
    def post(self, request: Request) -> Response:
        """Enqueue, answer at once."""
        wish = Wish(data=request.data)
        wish.is_valid(raise_exception=True)
        return enqueued(tasks.work.delay(wish.validated_data["seconds"]))


class Task(APIView):
    def get(self, request: Request, task_id: UUID) -> Response:
        """Say how it stands, from the moment of its enqueuing on; nobody else's task exists."""
        run = get_run(str(task_id), request.user)
        if run is None:
            raise NotFound
        return Response(run.as_json())


class Failures(APIView):
    def post(self, request: Request) -> Response:
        return enqueued(tasks.fail.delay())


class Retries(APIView):
    def post(self, request: Request) -> Response:
        return enqueued(tasks.retry_twice.delay())


class Upload(serializers.Serializer):
    image = serializers.FileField(
        error_messages={"required": "Choose a picture first.", "invalid": "Choose a picture first."}
    )

    def validate_image(self, image: Any) -> Any:
        if image.size > photos.MOST_BYTES:
            raise serializers.ValidationError(f"{photos.MOST_BYTES // 1024**2} MB are the most.")
        try:
            photos.check(image)
        except photos.Unfit as unfit:
            raise serializers.ValidationError(str(unfit)) from unfit
        image.seek(0)
        return image


class Photos(APIView):
    def post(self, request: Request) -> Response:
        """Keep the photo and let the worker make pictures of it. What only its pixels tell, the task will say."""
        upload = Upload(data=request.data)
        upload.is_valid(raise_exception=True)
        album = photos.new_album(request.user)
        with (album / photos.ORIGINALS / "photo").open("wb") as file:
            file.writelines(upload.validated_data["image"].chunks())
        return enqueued(tasks.make_pictures.delay(_name(album)))


class SamplePhotos(APIView):
    def post(self, request: Request) -> Response:
        album = photos.new_album(request.user)
        samples.draw_into(album / photos.ORIGINALS, drawn=settings.STATE / "samples")
        return enqueued(tasks.make_pictures.delay(_name(album)))


class Picture(APIView):
    def get(self, request: Request, album: UUID, name: str) -> HttpResponse:
        """Serve a picture to its owner alone."""
        try:
            data = photos.find(request.user, album, name).read_bytes()
        except FileNotFoundError:
            raise NotFound from None
        return HttpResponse(data, content_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})


class KillWorker(APIView):
    def post(self, request: Request) -> Response:
        return pressed(launcher.KILL_WORKER)


class StopServer(APIView):
    def post(self, request: Request) -> Response:
        return pressed(launcher.STOP_SERVER)


def enqueued(result: Any) -> Response:
    return Response({"task_id": result.id}, status=status.HTTP_201_CREATED)


def pressed(button: str) -> Response:
    if launcher.tell(button):
        return Response(status=status.HTTP_202_ACCEPTED)
    return Response({"detail": "Only `make demo` can do this."}, status=status.HTTP_503_SERVICE_UNAVAILABLE)


def _name(album: Path) -> str:
    return f"{album.parent.name}/{album.name}"
