"""The checkpoint file: the last line of an item counts, and no crash makes it unreadable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import ConfigurationError
from gptimage.bulk.checkpoint import Checkpoint, CheckpointLine, ItemError
from gptimage.transport.billing import Billing


LINES = st.builds(
    lambda state, **values: CheckpointLine(billing=state[0], delivered=state[1], **values),
    state=st.sampled_from(
        (
            (Billing.SENT, False),
            (Billing.BILLED, False),
            (Billing.BILLED, True),
            (Billing.NOT_BILLED, False),
            (Billing.UNKNOWN, False),
        )
    ),
    index=st.integers(0, 50),
    key=st.text(max_size=20),
    stored=st.lists(st.text(max_size=10), max_size=3).map(tuple),
    usd=st.none() | st.decimals(0, 100).map(str),
    reply=st.none() | st.text(max_size=10),
    error=st.none() | st.builds(ItemError, type=st.text(max_size=10), message=st.text(max_size=20)),
)


@given(LINES)
def test_an_entry_survives_its_line(entry: CheckpointLine) -> None:
    """What is written is what is read, on one line."""
    line = entry.line()

    assert line.count(b"\n") == 1
    assert CheckpointLine.read(line) == entry


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b'{"index": 3, "key": "g1:x", "status": "begun", "reply": "r"}',
            CheckpointLine(index=3, key="g1:x", billing=Billing.SENT, reply="r"),
        ),
        (
            b'{"index": 0, "key": "k", "status": "done", "stored": ["img_1"], "usd": "0.0131"}',
            CheckpointLine(
                index=0,
                key="k",
                billing=Billing.BILLED,
                delivered=True,
                stored=("img_1",),
                usd="0.0131",
            ),
        ),
        (
            b'{"index": 1, "key": "k", "status": "unknown", "error": {"type": "E", "message": ""}}',
            CheckpointLine(
                index=1, key="k", billing=Billing.UNKNOWN, error=ItemError(type="E", message="")
            ),
        ),
    ],
)
def test_a_line_of_0_1_is_read(line: bytes, expected: CheckpointLine) -> None:
    """A run that was killed goes on with a newer version, whose lines are the same."""
    assert CheckpointLine.read(line) == expected
    assert expected.line() == line + b"\n"


@given(st.binary(max_size=200))
def test_no_line_breaks_the_reader(line: bytes) -> None:
    """Any bytes are an entry or nothing."""
    found = CheckpointLine.read(line)

    assert found is None or found.index >= 0


@given(st.lists(LINES, max_size=30))
def test_the_last_line_counts(
    tmp_path_factory: pytest.TempPathFactory, wrote: list[CheckpointLine]
) -> None:
    """A later run knows of each item what was written last."""
    path = tmp_path_factory.mktemp("run") / "run.jsonl"
    with Checkpoint(path) as file:
        for entry in wrote:
            file.write(entry)
        during = [file.last(index) for index in range(52)]
    with Checkpoint(path) as file:
        after = [file.last(index) for index in range(52)]

    last = {entry.index: entry for entry in wrote}
    assert during == after == [last.get(index) for index in range(52)]


@pytest.mark.parametrize("kept", range(0, 90, 7))
def test_a_torn_line_is_no_harm(tmp_path: Path, kept: int) -> None:
    """A run killed while it wrote leaves a piece of a line; runs after it go on."""
    path = tmp_path / "run.jsonl"
    whole = CheckpointLine(index=0, key="g1:abc", billing=Billing.SENT).line()
    path.write_bytes(whole[: min(kept, len(whole) - 1)])

    for index in (1, 2, 3):
        with Checkpoint(path) as file:
            file.write(CheckpointLine(index=index, key="k", billing=Billing.BILLED, delivered=True))
    with Checkpoint(path) as file:
        found = [file.last(index) is not None for index in range(5)]

    # Only the newline may be missing: then the line is whole.
    assert found == [kept >= len(whole) - 1, True, True, True, False]


@pytest.mark.parametrize(
    "content",
    [
        '{"prompt": "A fox"}\n',
        "prompt,size\n",
        '"A fox"\n',
        "A fox",
        '{"index": 10000000000, "key": "k", "status": "done"}\n',
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, content: str) -> None:
    """A file that is no checkpoint is refused before a byte is added to it."""
    path = tmp_path / "requests.jsonl"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match="no checkpoint"):
        Checkpoint(path)
    assert path.read_text() == content


def test_two_runs_do_not_share_one(tmp_path: Path) -> None:
    """A second run, in this process or another, is refused while the first goes on."""
    path = tmp_path / "run.jsonl"
    code = f"from gptimage.bulk.checkpoint import Checkpoint; Checkpoint({str(path)!r})"
    with Checkpoint(path):
        with pytest.raises(ConfigurationError, match="another run"):
            Checkpoint(path)
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
    Checkpoint(path).close()

    assert "another run is using" in done.stderr


def test_a_killed_run_leaves_every_whole_line(tmp_path: Path) -> None:
    """Lines are there as soon as they are written, even if the process is killed at once."""
    path = tmp_path / "run.jsonl"
    code = f"""
import os, signal
from gptimage.bulk.checkpoint import Checkpoint, CheckpointLine
from gptimage.transport.billing import Billing
file = Checkpoint({str(path)!r})
for index in range(100):
    file.write(CheckpointLine(index=index, key="k", billing=Billing.UNKNOWN))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == -9
    lines = path.read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(100))
    with Checkpoint(path) as file:
        assert file.last(99) == CheckpointLine(index=99, key="k", billing=Billing.UNKNOWN)
