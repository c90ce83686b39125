"""One SQLite file for many threads and processes: made, opened, refused, put aside."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gptimage._internal.sqlite import NotADatabaseError, SqliteFile, create_tables, damage


SCHEMA = """
CREATE TABLE rows (n INTEGER);
"""


class RefusedError(Exception):
    """What these files make of an error."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the table."""
    if not create_tables(connection, 1, SCHEMA):
        raise NotADatabaseError("it is another database")


def opened(path: Path, *, replaceable: bool = False, busy_seconds: float = 5.0) -> SqliteFile:
    """A file with one table."""
    return SqliteFile(
        path,
        prepare=prepare,
        failed=lambda error: RefusedError(str(error)),
        busy_seconds=busy_seconds,
        replaceable=replaceable,
    )


def add(file: SqliteFile, number: int) -> None:
    """Add a row."""
    file.write(lambda connection: connection.execute("INSERT INTO rows VALUES (?)", (number,)))


def rows(file: SqliteFile) -> list[int]:
    """All rows."""
    query = "SELECT n FROM rows ORDER BY n"
    return file.read(lambda connection: [n for (n,) in connection.execute(query)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a folder that is not there yet."""
    return tmp_path / "deep" / "file.sqlite"


def test_nothing_is_made_before_it_is_needed(path: Path) -> None:
    """An object that is not used leaves no file."""
    opened(path)

    assert not path.parent.exists()


def test_threads_share_it(path: Path) -> None:
    """Every write of many threads arrives."""
    file = opened(path)
    threads = [threading.Thread(target=add, args=(file, number)) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert rows(file) == list(range(20))


def test_a_failed_write_writes_nothing(path: Path) -> None:
    """A transaction whose work fails is rolled back, and the file goes on working."""
    file = opened(path)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO rows VALUES (1)")
        raise KeyError("work")

    with pytest.raises(KeyError):
        file.write(fail)
    add(file, 2)

    assert rows(file) == [2]


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite", b"no database at all " * 300])
def test_what_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    """A file that holds what is found nowhere else is never made anew over another."""
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(RefusedError):
        rows(opened(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("cut", [0, 1, 50, 4_096])
def test_a_file_cut_short_is_refused(path: Path, cut: int) -> None:
    """A file that lost its end is not taken for a new or a smaller one."""
    file = opened(path)
    for number in range(2_000):
        add(file, number)
    file.close()
    os.truncate(path, cut)

    with pytest.raises(RefusedError):
        rows(opened(path))
    assert path.stat().st_size == cut


def test_a_file_cut_under_an_open_connection_is_refused(path: Path) -> None:
    """A file that is emptied while it is open is not read as empty."""
    file = opened(path)
    add(file, 1)
    file.close()
    add(file, 2)
    os.truncate(path, 0)

    with pytest.raises(RefusedError):
        add(opened(path), 3)


def test_a_replaceable_file_is_put_aside(path: Path) -> None:
    """Where all is found elsewhere, a new file is made, and the odd one stays beside it."""
    content = b"no database at all " * 300
    path.parent.mkdir()
    path.write_bytes(content)
    file = opened(path, replaceable=True)
    add(file, 1)

    assert rows(file) == [1]
    assert Path(f"{path}.damaged").read_bytes() == content


def test_damage_found_in_use_is_put_aside(path: Path) -> None:
    """What only the work can see is damage, too: the work is done again with a new file."""
    file = opened(path, replaceable=True)
    add(file, 1)

    def work(connection: sqlite3.Connection) -> int:
        (found,) = connection.execute("SELECT COUNT(*) FROM rows").fetchone()
        if found:
            raise damage("a row that cannot be")
        return int(found)

    assert file.write(work) == 0


def test_a_removed_file_is_made_anew(path: Path) -> None:
    """An open connection does not go on writing to a file that is gone."""
    file = opened(path)
    add(file, 1)
    path.unlink()
    add(file, 2)

    assert rows(opened(path)) == [2]


def test_a_locked_file_is_an_error(path: Path) -> None:
    """Who holds it for too long is waited for no longer than was said."""
    file = opened(path, busy_seconds=0.05)
    add(file, 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(RefusedError, match="locked"):
        add(file, 2)
    other.execute("COMMIT")
    other.close()
    add(file, 3)

    assert rows(file) == [1, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("busy", [False, True])
def test_a_fork_shares_no_connection(path: Path, busy: bool) -> None:
    """Parent and child go on with the same object, even when another thread was writing."""
    file = opened(path, busy_seconds=60)
    add(file, 1)
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            add(file, 0)

    writer = threading.Thread(target=keep_writing)
    if busy:
        writer.start()
    child = os.fork()
    if child == 0:
        try:
            add(file, 2)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    stop.set()
    if busy:
        writer.join()
    add(file, 3)

    assert [n for n in rows(file) if n] == [1, 2, 3]


def test_a_process_killed_while_making_it_leaves_none(path: Path) -> None:
    """The file appears with its tables in it or not at all, so an empty one is never ours."""
    code = (
        "import os, sys; from pathlib import Path;"
        "from gptimage._internal.sqlite import SqliteFile;"
        "SqliteFile(Path(sys.argv[1]), prepare=lambda c: os._exit(9), failed=RuntimeError,"
        "busy_seconds=5).read(print)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)

    assert (done.returncode, path.exists()) == (9, False)
    file = opened(path)
    add(file, 1)
    assert rows(file) == [1]
    assert {each.name for each in path.parent.iterdir()} <= {
        "file.sqlite", "file.sqlite-wal", "file.sqlite-shm",
    }  # fmt: skip


def test_another_process_that_ends_takes_no_log_away(path: Path) -> None:
    """With two connections here its end is not the last one: what is written later is there."""
    file = opened(path)
    add(file, 1)
    file.read(lambda _: rows(file))
    code = (
        "import sys; from pathlib import Path; from tests._internal import test_sqlite as t; "
        "file = t.opened(Path(sys.argv[1])); t.add(file, 2); print(t.rows(file)); file.close()"
    )

    def elsewhere() -> str:
        command = [sys.executable, "-c", code, str(path)]
        root = Path(__file__).parents[2]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout

    first = elsewhere()
    add(file, 3)

    assert (first, rows(file)) == ("[1, 2]\n", [1, 2, 3])
    assert elsewhere() == "[1, 2, 2, 3]\n"
