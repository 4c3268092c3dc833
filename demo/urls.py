from django.urls import include, path, register_converter

from demo import views
from demo.photos import PictureName

register_converter(PictureName, "picture")

urlpatterns = [
    path("", views.page, name="page"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("tasks/", views.Tasks.as_view(), name="tasks"),
    path("tasks/fail/", views.Failures.as_view(), name="fail"),
    path("tasks/retry/", views.Retries.as_view(), name="retry"),
    path("tasks/<uuid:task_id>/", views.Task.as_view(), name="task"),
    path("photos/", views.Photos.as_view(), name="photos"),
    path("photos/samples/", views.SamplePhotos.as_view(), name="samples"),
    path("photos/<uuid:album>/<picture:name>", views.Picture.as_view(), name="picture"),
    path("worker/kill/", views.KillWorker.as_view(), name="kill-worker"),
    path("server/stop/", views.StopServer.as_view(), name="stop-server"),
    # Taskbell's own two lines.
    path("events/", include("taskbell.urls.events")),
    path("taskbell/", include("taskbell.urls.api")),
]
