"""Taking over a batch of which only its id is known: its requests are read from its own file."""

from __future__ import annotations

from typing import Any

from gptimage.batch.driver import AsyncBatchLine, BatchLine
from gptimage.batch.job import Job
from gptimage.batch.output import Line
from gptimage.batch.state import Part, State, private
from gptimage.batch.steps import Flow, look
from gptimage.batch.uploads import Kept
from gptimage.errors import InvalidRequestError
from gptimage.providers.openai.batches import BatchPart
from gptimage.transport.base64_body import parse


def finding(line: BatchLine | AsyncBatchLine, batch_id: str) -> Flow[BatchPart]:
    """The batch of an id.

    Raises:
        ApiError: The service knows no such batch.
        InvalidRequestError: It names no file of requests.
    """
    status = yield from look(line.keeper.core, (batch_id,), 0)
    part = status.parts[0]
    if part.input_file_id is None:
        raise InvalidRequestError(
            f"the batch {batch_id} names no input file", field="batch", value=batch_id
        )
    return part


class Adoption:
    """A batch whose file of requests is being read; close it.

    Args:
        line: The client's side.
        part: The batch.
    """

    def __init__(self, line: BatchLine | AsyncBatchLine, part: BatchPart) -> None:
        core = line.keeper.core
        self._line = line
        self._part = part
        self._state = State.new(None, core.clock(), core.endpoint, {})
        self._file = private(self._state.requests)
        self._seen: set[str] = set()

    def take(self, text: Line) -> None:
        """One request; a file that was fetched twice brings some twice.

        Raises:
            InvalidRequestError: It is no request of a batch.
        """
        try:
            value = parse(text.raw).value
            name, path = str(value["custom_id"]), str(value["url"]).removeprefix("/v1")
            body: dict[str, Any] = dict(value["body"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._refused(error) from error
        if name not in self._seen:
            self._seen.add(name)
            self._add(path, body, len(text.rest))
            self._file.write(Kept(custom_id=name, part=0, body=body).line())

    def job(self) -> Job:
        """The job, once everything was taken.

        Raises:
            InvalidRequestError: There was nothing.
        """
        if not self._state.parts:
            raise self._refused("it is empty")
        self._file.close()
        self._state.ready = True
        self._state.save()
        return Job(keeper=self._line.keeper, meter=self._line.meter, state=self._state)

    def close(self) -> None:
        """Close the file of requests; harmless when done twice."""
        self._file.close()

    def _add(self, path: str, body: dict[str, Any], size: int) -> None:
        if not self._state.parts:
            part = Part(path=path, model=str(body.get("model")), batch_id=self._part.id)
            part.file_id = self._part.input_file_id
            self._state.parts.append(part)
        self._state.parts[0].add(size, 1, None, None)

    def _refused(self, why: object) -> InvalidRequestError:
        return InvalidRequestError(
            f"the batch {self._part.id} is not one of pictures ({why!r})",
            field="batch",
            value=self._part.id,
        )
