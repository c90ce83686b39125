"""A view with Django under ASGI: drawn once for each id, and given to Django's own file storage.

``uvicorn django_app:application`` serves it. In a project of yours, copy `draw`, and keep the
settings you have: the file goes wherever ``STORAGES`` says.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
from functools import cache
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from gptimage import ImageClient
from gptimage.store import Store
from gptimage.workers import Job, JobResult, SqliteJobStore, run_job


STATUS = {"done": 200, "busy": 202, "failed": 422, "needs_review": 409, "discarded": 410}
"""What each end of a job is in HTTP; 409: it may have been billed, and a person decides."""


@cache
def store() -> Store:
    """Return where the images are."""
    return Store("images")


@cache
def client() -> ImageClient:
    """Return the client of this process."""
    return ImageClient(store=store())


@cache
def job_store() -> SqliteJobStore:
    """Return where the jobs of all processes are."""
    return SqliteJobStore("jobs.sqlite")


@csrf_exempt  # the caller proves itself by a token, which a browser does not send by itself
@require_POST
async def draw(request: HttpRequest, id: str) -> JsonResponse:
    """Draw what the JSON says, or give what was drawn under this id before."""
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {os.environ['APP_TOKEN']}".encode()):
        return JsonResponse({"message": "the token is missing or wrong"}, status=401)
    try:
        job = Job.from_dict({**json.loads(request.body), "id": id})
        # In a thread: the view waits for a minute, and the event loop for nothing.
        result, names = await asyncio.to_thread(drawn, job)
    except (TypeError, ValueError) as error:  # no job, or the id has another request
        return JsonResponse({"message": str(error)}, status=400)
    answer: dict[str, Any] = {**result.to_dict(), "urls": [default_storage.url(n) for n in names]}
    return JsonResponse(answer, status=STATUS[result.status])


def drawn(job: Job) -> tuple[JobResult, list[str]]:
    """Do a job, and give its images to Django's storage, each once."""
    result = run_job(job, client=client(), job_store=job_store())
    names: list[str] = []
    for id in result.images:
        image = store().open(id)
        name = f"images/{id}.{image.extension}"
        if not default_storage.exists(name):
            name = default_storage.save(name, ContentFile(image.data))
        names.append(name)
    return result, names


urlpatterns = [path("images/<str:id>", draw)]

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["localhost", "127.0.0.1"],
        MEDIA_ROOT="media",
        MEDIA_URL="/media/",
        SECRET_KEY=os.environ["APP_TOKEN"],
    )
    django.setup()

application = get_asgi_application()
