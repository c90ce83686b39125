"""An AWS Lambda function: draw an image once, save it in S3, and tell the address of it.

    {"id": "order-17", "prompt": "A red fox", "size": "1200x630", "quality": "low"}

comes directly, from SNS or from SQS. The answer and the message to SNS have an address that anybody
may open for a day; they never have the image, since Lambda carries 6 MB at most.

The trap: AWS runs an asynchronous invocation that failed two more times, and queues deliver twice.
Here a job is paid for once, whoever delivers it however often: what was done lies in the bucket
beside the images. A job whose function was killed after its request was sent is never sent again by
itself; it is `needs_review` (see docs/workers.md).

Variables: IMAGES (such as s3://bucket/images), JOBS (s3://bucket/jobs), TOPIC (the ARN of a topic,
may be left out), and the key in OPENAI_API_KEY. The role may read, write and list the bucket. Set
MaximumRetryAttempts=0 all the same: a retry of what failed for good only costs time.
"""

from __future__ import annotations

import functools
import json
import os
from typing import Any, Final


# Only this folder can be written to; the library asks for its own when it is first used.
for _variable in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_PICTURES_DIR"):
    os.environ.setdefault(_variable, "/tmp")  # noqa: S108  # the only one there is, and ours alone

import boto3  # type: ignore[import-untyped]  # has no types  # pyright: ignore[reportMissingTypeStubs]  # noqa: E402  # after the variables

from gptimage import ImageClient  # noqa: E402
from gptimage.store import Store  # noqa: E402
from gptimage.store.object_blobs import ObjectBlobs  # noqa: E402
from gptimage.workers import BlobJobStore, JobStoreError, run_job  # noqa: E402


_AWS: Final[Any] = boto3
_VALID: Final = 24 * 3600
"""Seconds for which an address can be opened. S3 takes at most a week."""
_MARGIN: Final = 15.0
"""Seconds at the end that belong to saving: Lambda kills a function without a word."""


@functools.cache
def store() -> Store:
    """The store, which later invocations in this process use again."""
    return Store(ObjectBlobs.from_url(os.environ["IMAGES"]))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do the jobs of an event.

    Returns:
        The result of a direct call; for a batch of SQS, which messages are to come again.
    """
    if "Records" not in event:
        return draw(event, context)
    again: list[dict[str, str]] = []
    for record in event["Records"]:
        queued = record.get("eventSource") == "aws:sqs"
        job = json.loads(record["body"] if queued else record["Sns"]["Message"])
        try:
            result = draw(job, context)
        except JobStoreError:  # nothing was sent: later it may work
            if not queued:
                raise
            result = {"retry_after": 0}
        # Busy, or it failed in a way that passes, such as a limit: acknowledged, it would be lost.
        if queued and result["retry_after"] is not None:
            again.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": again}


def draw(job: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do one job and tell of it; delivered again it is paid for no second time."""
    seconds = max(context.get_remaining_time_in_millis() / 1000 - _MARGIN, 1.0)
    jobs = BlobJobStore(ObjectBlobs.from_url(os.environ["JOBS"]))
    with ImageClient(store=store(), timeout=seconds) as client:
        result = run_job(job, client=client, job_store=jobs)
    answer = {**result.to_dict(), "urls": [address(id) for id in result.images]}
    topic = os.environ.get("TOPIC")
    # Whoever listens may hear of a job twice, as it may be delivered twice; its id tells.
    if topic and result.status != "busy":
        _AWS.client("sns").publish(
            TopicArn=topic,
            Message=json.dumps(answer),
            MessageAttributes={"status": {"DataType": "String", "StringValue": result.status}},
        )
    return answer


def address(id: str) -> str:
    """Return an address at which a browser finds a stored image for a day."""
    bucket, _, folder = os.environ["IMAGES"].removeprefix("s3://").partition("/")
    record = store().get(id)
    key = f"{folder}/{record.key}" if folder else record.key
    return str(
        _AWS.client("s3").generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_VALID
        )
    )
