from django.http import HttpRequest, HttpResponse
from django.urls import include, path

PAGE = "<!doctype html><meta charset=utf-8><title>page</title><link rel=icon href='data:,'>"


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


urlpatterns = [
    path("", page),
    path("events/", include("taskbell.urls.events")),
]
