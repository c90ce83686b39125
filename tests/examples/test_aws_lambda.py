"""The function for AWS Lambda, over a bucket, a topic and a queue that moto keeps."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
