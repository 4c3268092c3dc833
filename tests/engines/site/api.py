"""The API alone, for tests that play a browser in their own process."""

from django.urls import include, path

urlpatterns = [path("taskbell/", include("taskbell.urls.api"))]
