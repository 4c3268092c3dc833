"""`path("taskbell/", include("taskbell.urls.api"))`: JSON for pages."""

from django.urls import path

from taskbell import api

app_name = "taskbell"

urlpatterns = [
    path("runs/", api.runs, name="runs"),
    path("runs/<str:id>/", api.run, name="run"),
    path("runs/<str:id>/cancel/", api.cancel, name="cancel"),
]
