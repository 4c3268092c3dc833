from celery.result import AsyncResult
from django.contrib.auth.decorators import login_required
from django.shortcuts import render
from django_eventstream import send_event
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from mysite.tasks import work


@login_required
def home(request):
    return render(request, "home.html")


class Tasks(APIView):
    permission_classes = [IsAuthenticated]

    def post(self, request):
        result = work.delay(int(request.data.get("seconds", 5)), request.user.get_username())
        return Response({"task_id": result.id}, status=201)


class Task(APIView):
    permission_classes = []

    def get(self, request, task_id):
        state = AsyncResult(task_id).state
        if "user" in request.GET:  # the worker says that it is done
            send_event(f"user-{request.GET['user']}", "message", {"msg": "Task finished", "task_id": task_id})
        return Response({"task_id": task_id, "state": state})
