from django.contrib.staticfiles.views import serve
from django.urls import include, path

from tests.browser import pages

urlpatterns = [
    path("", pages.blank),
    path("events/", include("taskbell.urls.events")),
    path("taskbell/", include("taskbell.urls.api")),
    path("static/<path:path>", serve, {"insecure": True}),
    path("page/", pages.page),
    path("sign-out/", pages.sign_out),
    path("fragment/<str:id>/", pages.fragment),
]
