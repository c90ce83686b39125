"""The function for AWS Lambda, over a bucket, a topic and a queue that moto keeps."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gptimage import ImageClient
from gptimage.store import Store
from gptimage.workers import JobResult


FOLDER = Path(__file__).parents[2] / "examples" / "aws_lambda"
JOB = {"id": "order-17", "prompt": "A red fox", "size": "1024x1024", "quality": "low"}


class Context:
    """What Lambda tells a function of its own time."""

    def get_remaining_time_in_millis(self) -> int:
        """A minute."""
        return 60_000


@pytest.fixture
def aws(bucket_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The handler's module, with a bucket and a topic; `messages` has what SNS was sent."""
    del bucket_server
    boto3 = pytest.importorskip("boto3")
    for name, value in {
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
        "XDG_PICTURES_DIR": str(tmp_path),
        "GPTIMAGE_SANDBOX": "1",
        "IMAGES": "s3://bucket/images",
        "JOBS": "s3://bucket/jobs",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        topic = boto3.client("sns").create_topic(Name="images")["TopicArn"]
        queue = boto3.client("sqs").create_queue(QueueName="messages")["QueueUrl"]
        boto3.client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:messages"
        )
        monkeypatch.setenv("TOPIC", topic)
        monkeypatch.syspath_prepend(str(FOLDER))
        import handler  # type: ignore[import-not-found]  # found by the path above

        handler.messages = lambda: [
            json.loads(json.loads(message["Body"])["Message"])
            for message in boto3.client("sqs")
            .receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
            .get("Messages", [])
        ]
        yield handler
        handler.store().close()
    finally:
        sys.modules.pop("handler", None)


def images(handler: Any) -> int:
    """How many images were ever drawn."""
    return int(handler.store().stats().images)


def test_a_job_is_paid_for_once(aws: Any) -> None:
    """Three deliveries give one image, whose address anybody can open; SNS is told of it."""
    results = [aws.handler(JOB, Context()) for _ in range(3)]

    assert [result["status"] for result in results] == ["done"] * 3
    assert {tuple(result["images"]) for result in results} == {tuple(results[0]["images"])}
    assert images(aws) == 1
    with urllib.request.urlopen(results[0]["urls"][0]) as response:
        assert response.read() == aws.store().open(results[0]["images"][0]).data
    told = aws.messages()
    assert [(each["id"], each["status"]) for each in told] == [("order-17", "done")] * 3


def test_a_batch_of_a_queue(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another worker has comes again, and what may pass; what failed for good does not."""
    jobs = [JOB, {**JOB, "id": "order-18", "prompt": "A hen [sandbox:moderation]"}]
    event = {
        "Records": [
            {"eventSource": "aws:sqs", "messageId": job["id"], "body": json.dumps(job)}
            for job in jobs
        ]
    }

    assert aws.handler(event, Context()) == {"batchItemFailures": []}
    assert [each["status"] for each in aws.messages()] == ["done", "failed"]

    limited = JobResult(id="order-17", status="failed", retryable=True, retry_after=30.0)
    monkeypatch.setattr(aws, "run_job", lambda *_, **__: limited)
    assert len(aws.handler(event, Context())["batchItemFailures"]) == 2

    def unreachable(*_: object, **__: object) -> None:
        raise aws.JobStoreError("the bucket is gone")

    monkeypatch.setattr(aws, "run_job", unreachable)
    again = aws.handler(event, Context())["batchItemFailures"]
    assert again == [{"itemIdentifier": "order-17"}, {"itemIdentifier": "order-18"}]


def test_a_message_of_a_topic(aws: Any) -> None:
    """A job that SNS delivers twice is drawn once."""
    event = {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(JOB)}}]}

    for _ in range(2):
        assert aws.handler(event, Context()) == {"batchItemFailures": []}
    assert images(aws) == 1


def test_a_function_that_was_killed(aws: Any) -> None:
    """What may have been billed is never sent again by itself, and the listener learns it."""
    lost = {**JOB, "prompt": "A hen [sandbox:cut]"}

    results = [aws.handler(lost, Context()) for _ in range(2)]

    assert [result["status"] for result in results] == ["needs_review"] * 2
    assert images(aws) == 0


def asynchronously(event: dict[str, Any], handler: Callable[..., object]) -> list[object]:
    """Invoke a function as AWS does without a caller: two more times where it failed."""
    ends: list[object] = []
    for _ in range(3):
        try:
            return [*ends, handler(event, Context())]
        except Exception as error:  # noqa: BLE001  # whatever it was, AWS tries again
            ends.append(error)
    return ends


def test_the_trap_of_asynchronous_invocations(
    aws: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A function that fails after it paid is run three times: the job store makes one payment."""
    topic = os.environ["TOPIC"]
    monkeypatch.setenv("TOPIC", f"{topic}-gone")  # the image is saved, and SNS fails

    assert [type(each).__name__ for each in asynchronously(JOB, aws.handler)] == [
        "NotFoundException"
    ] * 3
    assert images(aws) == 1

    # The trap itself: what most examples do.
    with Store(tmp_path / "pictures") as store:

        def naive(event: dict[str, Any], context: Context) -> None:
            del context
            with ImageClient(store=store) as client:
                client.generate(event["prompt"], size="64x64", quality="low")
            raise RuntimeError("SNS is gone")

        asynchronously(JOB, naive)
        assert store.stats().images == 3


def test_the_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has the packages and the handler, nothing that Lambda does not use, and no time."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import pack  # type: ignore[import-not-found]  # found by the path above

    for name in ("gptimage/py.typed", "bin/gptimage", "gptimage/__pycache__/a.pyc", "PIL/_a.so"):
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0123456789" * 10)
    sizes = [
        pack.pack(tmp_path / "packages", pack.HANDLER, tmp_path / f"{number}.zip")
        for number in range(2)
    ]

    assert sizes[0] == sizes[1] == ((tmp_path / "0.zip").stat().st_size, sizes[0][1])
    assert sizes[0][1] == 200 + pack.HANDLER.stat().st_size
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        assert archive.namelist() == ["PIL/_a.so", "gptimage/py.typed", "handler.py"]
    sys.modules.pop("pack", None)
