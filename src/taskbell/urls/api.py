"""`path("taskbell/", include("taskbell.urls.api"))`: JSON for pages."""

from django.urls import path

from taskbell.api import document, notifications, push, runs

app_name = "taskbell"

urlpatterns = [
    path("runs/", runs.runs, name="runs"),
    path("runs/<str:id>/", runs.run, name="run"),
    path("runs/<str:id>/cancel/", runs.cancel, name="cancel"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/seen/", notifications.seen, name="seen"),
    path("notifications/read/", notifications.read, name="read"),
    path("openapi.json", document.openapi, name="openapi"),
    path("push/subscriptions/", push.subscriptions, name="push"),
    path("push/subscriptions/renew/", push.renew, name="push_renew"),
    path("push/worker.js", push.worker, name="push_worker"),
]
