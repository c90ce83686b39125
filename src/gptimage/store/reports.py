"""What `Store.verify` reports: every kind of problem by name."""

from __future__ import annotations

from typing import Literal

from attrs import frozen


Kind = Literal[
    "missing",
    "changed",
    "unclaimed",
    "unreadable",
    "double",
    "unindexed",
    "stale",
    "lost input",
    "unused input",
    "leftover",
    "foreign",
]
"""What can be wrong.

``missing``: a sidecar whose picture is gone. ``changed``: a file that is not what its
sidecar or its name says. ``unclaimed``: a picture of the store without a sidecar, from a save
that was killed. ``unreadable``: a damaged sidecar. ``double``: a second sidecar with the same
id. ``unindexed``: a sidecar the index does not know, or knows differently. ``stale``: a row
without a sidecar. ``lost input``: an edit whose input picture is gone. ``unused input``: an
input picture no sidecar names. ``leftover``: a temporary file, or a picture whose removal was
cut short. ``foreign``: a file the store did not write; it is never touched.
"""


@frozen
class Problem:
    """One thing that is not as it should be.

    Attributes:
        kind: What kind it is; see `Kind`.
        key: The file's name in the store, or the sidecar's of a row.
        detail: More, in words.
    """

    kind: Kind
    key: str
    detail: str = ""


@frozen(kw_only=True)
class VerifyReport:
    """What `Store.verify` found.

    Attributes:
        checked: How many pictures were looked at.
        problems: What is wrong.
        repaired: What was wrong and no longer is.
        unfinished: Files too young to judge: somebody may be writing them right now.
    """

    checked: int = 0
    problems: tuple[Problem, ...] = ()
    repaired: tuple[Problem, ...] = ()
    unfinished: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong. Foreign files do not count: they are yours."""
        return all(problem.kind == "foreign" for problem in self.problems)

    def of(self, kind: Kind) -> tuple[Problem, ...]:
        """The problems of one kind."""
        return tuple(problem for problem in self.problems if problem.kind == kind)
