from django.urls import include, path, register_converter

from demo import api, launcher, tasks, views
from demo.photos import PictureName

register_converter(PictureName, "picture")

urlpatterns = [
    path("", views.page, name="page"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("tasks/", api.Tasks.as_view(), name="tasks"),
    path("tasks/fail/", api.Start.as_view(task=tasks.read_table), name="fail"),
    path("tasks/crash/", api.Start.as_view(task=tasks.crash), name="crash"),
    path("tasks/retry/", api.Start.as_view(task=tasks.deliver), name="retry"),
    path("tasks/report/", api.Report.as_view(), name="report"),
    path("tasks/<uuid:task_id>/", api.Task.as_view(), name="task"),
    path("photos/", api.Photos.as_view(), name="photos"),
    path("photos/samples/", api.SamplePhotos.as_view(), name="samples"),
    path("photos/<uuid:album>/<picture:name>", api.Picture.as_view(), name="picture"),
    path("worker/kill/", api.Launcher.as_view(line=launcher.KILL_WORKER), name="kill-worker"),
    path("server/stop/", api.Launcher.as_view(line=launcher.STOP_SERVER), name="stop-server"),
    # Taskbell's own two lines.
    path("events/", include("taskbell.urls.events")),
    path("taskbell/", include("taskbell.urls.api")),
]
