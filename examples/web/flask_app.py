"""A view with Flask: an image for each id, paid for once however often the page sends it.

``gunicorn --worker-class gthread --threads 8 --timeout 900 'flask_app:create_app()'`` serves it:
a call takes a minute and more, and a worker that is killed by its time limit may have paid.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from flask import Flask, Response, abort, jsonify, request

import gptimage
from gptimage import ImageClient
from gptimage.store import Store
from gptimage.workers import Job, SqliteJobStore, run_job


STATUS = {"done": 200, "busy": 202, "failed": 422, "needs_review": 409, "discarded": 410}
"""What each end of a job is in HTTP; 409: it may have been billed, and a person decides."""


def create_app() -> Flask:
    """Make the application: one client for each process, made after the fork."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 200_000
    token = os.environ["APP_TOKEN"]
    store = Store("images")
    client = ImageClient(store=store)
    job_store = SqliteJobStore("jobs.sqlite")

    @app.before_request
    def check_token() -> None:
        """Let nobody in who may not spend."""
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            abort(401)

    @app.put("/images/<id>")
    def draw(id: str) -> tuple[Response, int, dict[str, str]]:
        """Draw what the JSON says, or give what was drawn under this id before."""
        wanted: Any = request.get_json()
        try:
            job = Job.from_dict({**wanted, "id": id})
            result = run_job(job, client=client, job_store=job_store)
        except (TypeError, ValueError) as error:  # no job, or the id has another request
            return jsonify(message=str(error)), 400, {}
        wait = {} if result.retry_after is None else {"retry-after": f"{result.retry_after:.0f}"}
        return jsonify(result.to_dict()), STATUS[result.status], wait

    @app.get("/images/<id>")
    def show(id: str) -> Response:
        """Return the bytes of an image."""
        try:
            image = store.open(id)
        except gptimage.ImageNotFoundError:
            abort(404)
        return Response(image.data, mimetype=image.mime_type)

    # Flask keeps them; the names are here for type checkers.
    del check_token, draw, show
    return app
