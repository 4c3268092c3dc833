from django.urls import include, path

from tests.engines.site import views

urlpatterns = [
    path("events/", include("taskbell.urls.events")),
    path("enqueue/<str:name>/", views.enqueue),
    path("commit/<str:name>/", views.enqueue_on_commit),
    path("rolled-back/", views.enqueue_and_roll_back),
    path("failing/", views.enqueue_and_fail),
    path("token/", views.enqueue_by_token),
    path("async/", views.enqueue_in_a_coroutine),
    path("async-to-sync/", views.enqueue_in_a_thread),
    path("async-unlisted/", views.enqueue_unlisted_in_a_coroutine),
    path("async-batch/", views.enqueue_a_batch_in_a_coroutine),
    path("without-looking/<str:name>/", views.enqueue_without_looking),
]
