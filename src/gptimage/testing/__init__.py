"""Tools for testing code that uses gptimage: recorded runs, replayed without key or network."""

from __future__ import annotations

from gptimage.testing.cassette import Cassette as Cassette
from gptimage.testing.cassette import UnrecordedRequestError as UnrecordedRequestError
from gptimage.testing.cassette import cassette as cassette
from gptimage.testing.recording_sandbox import RecordingSandbox as RecordingSandbox
