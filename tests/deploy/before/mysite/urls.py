import django_eventstream
from django.contrib.auth.views import LoginView
from django.urls import include, path

from mysite import views

urlpatterns = [
    path("", views.home),
    path("sign-in/", LoginView.as_view(template_name="sign-in.html")),
    path("tasks/", views.Tasks.as_view()),
    path("tasks/<task_id>/", views.Task.as_view()),
    path("events/<user>/", include(django_eventstream.urls), {"format-channels": ["user-{user}"]}),
]
