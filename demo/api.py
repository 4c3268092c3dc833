"""What the page's buttons ask for: tasks, photos, and that something be broken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from celery import Task as CeleryTask
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from demo import launcher, photos, samples, tasks
from taskbell import batch, get_run

LONGEST_SECONDS: Final = 600


class Wish(serializers.Serializer):
    seconds = serializers.FloatField(default=5, min_value=0, max_value=LONGEST_SECONDS)


class Tasks(APIView):
    def post(self, request: Request) -> Response:
        """Enqueue, answer at once."""
        wish = Wish(data=request.data)
        wish.is_valid(raise_exception=True)
        return enqueued(tasks.work.delay(wish.validated_data["seconds"]).id)


class Task(APIView):
    def get(self, request: Request, task_id: UUID) -> Response:
        """Say how it stands, from the moment of its enqueuing on; nobody else's task exists."""
        run = get_run(str(task_id), request.user)
        if run is None:
            raise NotFound
        return Response(run.as_json())


class Start(APIView):
    """Enqueue one of the tasks that want nothing to be said."""

    task: CeleryTask | None = None

    def post(self, request: Request) -> Response:
        assert self.task is not None
        return enqueued(self.task.delay().id)


class Report(APIView):
    def post(self, request: Request) -> Response:
        """Enqueue what tells its end in the inbox: its person may have closed the page by then."""
        return enqueued(tasks.write_report.delay(request.user.pk).id)


class Photos(APIView):
    def post(self, request: Request) -> Response:
        """Keep the photos and let the workers make pictures of them. What only pixels tell, the tasks will say."""
        images = request.FILES.getlist("images")
        check(images)
        return enqueued_album(request.user, len(images), lambda folder: keep(images, folder))


class SamplePhotos(APIView):
    def post(self, request: Request) -> Response:
        drawn = settings.STATE / "samples"
        return enqueued_album(request.user, len(samples.SCENES), lambda folder: samples.draw_into(folder, drawn=drawn))


class Picture(APIView):
    def get(self, request: Request, album: UUID, name: str) -> HttpResponse:
        """Serve a picture to its owner alone."""
        try:
            data = photos.find(request.user, album, name).read_bytes()
        except FileNotFoundError:
            raise NotFound from None
        return HttpResponse(data, content_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})


class Launcher(APIView):
    """Ask the launcher to break something."""

    line = ""

    def post(self, request: Request) -> Response:
        if launcher.tell(self.line):
            return Response(status=status.HTTP_202_ACCEPTED)
        return Response({"detail": _("Only `make demo` can do this.")}, status=status.HTTP_503_SERVICE_UNAVAILABLE)


def check(images: list[UploadedFile]) -> None:
    """Raise a ValidationError in words unless all of these may be photos."""
    if not images:
        raise ValidationError({"images": [_("Choose a picture first.")]})
    if len(images) > photos.MOST_PHOTOS:
        raise ValidationError({"images": [_("%d photos at once are the most.") % photos.MOST_PHOTOS]})
    for image in images:
        try:
            if (image.size or 0) > photos.MOST_BYTES:
                raise photos.Unfit(_("%d MB are the most.") % (photos.MOST_BYTES // 1024**2))
            photos.check(image)
        except photos.Unfit as unfit:
            raise ValidationError({"images": [f"{image.name}: {unfit}"]}) from unfit


def keep(images: list[UploadedFile], folder: Path) -> None:
    for number, image in enumerate(images, 1):
        image.seek(0)
        with (folder / f"photo{number:02}").open("wb") as file:
            file.writelines(image.chunks())


def enqueued_album(user: Any, count: int, save: Callable[[Path], None]) -> Response:
    """One task a photo; all of them are one run, which the album is called after."""
    with batch(ngettext("%d photo", "%d photos", count) % count) as run:
        album = photos.new_album(user, run.id)
        save(album / photos.ORIGINALS)
        for photo in photos.photos_in(album):
            tasks.make_pictures.delay(photo)
    return enqueued(run.id, photos=count)


def enqueued(id: str, **more: Any) -> Response:
    return Response({"task_id": id, **more}, status=status.HTTP_201_CREATED)
