from django.urls import include, path

urlpatterns = [
    path("events/", include("taskbell.urls.events")),
    path("my/taskbell/", include("taskbell.urls.api")),
]
