"""`path("events/", include("taskbell.urls.events"))`: the one place where the prefix of the streams is written."""

from django.urls import path

from taskbell.views import stream

app_name = "taskbell-events"

urlpatterns = [
    path("", stream, name="own"),
    path("<str:name>/", stream, name="named"),
]
