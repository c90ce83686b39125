"""A store and a simple model of it, driven at random: they must never disagree."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gptimage import Edit, Generate, Image, ImageNotFoundError, Result, StoreError
from gptimage.store import Retention, Store, StoreWarning


WORDS = st.sampled_from(["fox", "snow", "sea", "dusk"])
TAGS = st.sampled_from(["hero", "draft", "'; DROP TABLE tags"])
NOW = timedelta(0)


class Known:
    """What the model knows of one image."""

    def __init__(self, image: Image, request: Generate, tags: set[str]) -> None:
        self.image, self.request, self.tags, self.pinned = image, request, tags, False

    @property
    def sources(self) -> set[str]:
        """SHA-256 of its inputs."""
        return {each.sha256 for each in self.request.inputs if isinstance(each, Image)}


class StoreMachine(RuleBasedStateMachine):
    """Saves, tags, deletes, prunes, harms and repairs at random."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.now = datetime(2026, 11, 20, tzinfo=UTC)
        self.store = self.open()
        self.model: dict[str, Known] = {}
        self.made = 0

    def open(self) -> Store:
        """Open the store as a new process would."""
        return Store(Path(self.folder.name) / "s", clock=lambda: self.now, fsync=False)

    def image(self) -> Image:
        """Another image every time, and a moment later."""
        self.made += 1
        self.now += timedelta(milliseconds=1)
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.made}" height="1"/>'
        return Image.from_bytes(svg.encode())

    def result(self, request: Generate, *images: Image) -> Result:
        """The result of a request."""
        return Result(images=images, request=request, model=request.model, created=self.now)

    def known(self, id: str) -> bool:
        """Whether the model has it; if not, the store must not either."""
        if id in self.model:
            return True
        with pytest.raises(ImageNotFoundError):
            self.store.open(id)
        return False

    @rule(target=ids, words=st.lists(WORDS, min_size=1), tags=st.sets(TAGS))
    def save(self, words: list[str], tags: set[str]) -> str:
        """Save a new image."""
        request = Generate(prompt=" ".join(words), model="m")
        image = self.image()
        record = self.store.save(self.result(request, image), tags=tags)[0]
        self.model[record.id] = Known(image, request, tags)
        return record.id

    @rule(target=ids, source=ids)
    def edit(self, source: str) -> Any:
        """Save an edit of an image that is there."""
        if source not in self.model:
            return self.save(["fox"], set())
        inputs = (self.model[source].image,)
        request = Edit(prompt="edit", model="m", images=inputs)
        image = self.image()
        record = self.store.save(self.result(request, image))[0]
        self.model[record.id] = Known(image, request, set())
        return record.id

    @rule(hours=st.integers(1, 100))
    def wait(self, hours: int) -> None:
        """Let time pass."""
        self.now += timedelta(hours=hours)

    @rule(id=ids, tag=TAGS)
    def tag(self, id: str, tag: str) -> None:
        """Tag an image."""
        if self.known(id):
            self.store.tag(id, tag)
            self.model[id].tags |= {tag}

    @rule(id=ids, tag=TAGS)
    def untag(self, id: str, tag: str) -> None:
        """Take a tag away."""
        if self.known(id):
            self.store.untag(id, tag)
            self.model[id].tags -= {tag}

    @rule(id=ids)
    def pin(self, id: str) -> None:
        """Pin an image."""
        if self.known(id):
            self.store.pin(id)
            self.model[id].pinned = True

    @rule(id=ids)
    def unpin(self, id: str) -> None:
        """Unpin an image."""
        if self.known(id):
            self.store.unpin(id)
            self.model[id].pinned = False

    @rule(id=consumes(ids))
    def delete(self, id: str) -> None:
        """Delete an image, unless it is pinned."""
        if not self.known(id):
            return
        if self.model[id].pinned:
            with pytest.raises(StoreError, match="pinned"):
                self.store.delete(id)
            return
        self.store.delete(id)
        del self.model[id]

    @rule(count=st.integers(0, 5), dry_run=st.booleans())
    def prune(self, count: int, dry_run: bool) -> None:
        """Keep the newest images."""
        unpinned = sorted((id for id in self.model if not self.model[id].pinned), reverse=True)
        places = max(0, count - (len(self.model) - len(unpinned)))
        report = self.store.prune(Retention(max_count=count), dry_run=dry_run)
        assert list(report.removed) == unpinned[places:]
        if not dry_run:
            for id in unpinned[places:]:
                del self.model[id]

    @rule()
    def reindex(self) -> None:
        """Build the index anew."""
        assert self.store.reindex() == len(self.model)

    @rule()
    def delete_index(self) -> None:
        """Throw the index away in use."""
        for path in (Path(self.folder.name) / "s").glob("index.sqlite*"):
            path.unlink()
        if self.model:
            with pytest.warns(StoreWarning, match="rebuilt"):
                self.store.history()

    @rule()
    def reopen(self) -> None:
        """Close it and open it again."""
        self.store.close()
        self.store = self.open()

    @rule(id=ids)
    def relate(self, id: str) -> None:
        """Ancestors and descendants are those of the model."""
        if self.known(id):
            mine = self.model[id]
            parents = {other for other, k in self.model.items() if k.image.sha256 in mine.sources}
            children = {other for other, k in self.model.items() if mine.image.sha256 in k.sources}
            lineage = self.store.lineage(id)
            assert parents <= {record.id for record in lineage.ancestors}
            assert children <= {record.id for record in lineage.descendants}
            assert self.store.request(id) == mine.request

    @invariant()
    def history_agrees(self) -> None:
        """The same images, newest first, with the same tags and pins."""
        records = list(self.store.history(1000))
        assert [record.id for record in records] == sorted(self.model, reverse=True)
        for record in records:
            known = self.model[record.id]
            assert (set(record.tags), record.pinned) == (known.tags, known.pinned)
            assert record.prompt == known.request.prompt

    @invariant()
    def search_agrees(self) -> None:
        """Words and tags find what the model would."""
        foxes = [id for id, known in self.model.items() if "fox" in known.request.prompt]
        found = [record.id for record in self.store.search("fox", 1000)]
        assert found == sorted(foxes, reverse=True)
        heroes = [id for id, known in self.model.items() if "hero" in known.tags]
        tagged = [record.id for record in self.store.history(1000, tag="hero")]
        assert tagged == sorted(heroes, reverse=True)

    @invariant()
    def nothing_is_wrong(self) -> None:
        """Files, sidecars and index agree, and every image is readable."""
        report = self.store.verify(grace=NOW)
        assert report.problems == ()
        assert report.checked == len(self.model)
        stats = self.store.stats()
        inputs = {source for known in self.model.values() for source in known.sources}
        assert (stats.images, stats.inputs) == (len(self.model), len(inputs))

    def teardown(self) -> None:
        """Every image that should be there can be opened."""
        for id, known in self.model.items():
            assert self.store.open(id) == known.image
        self.store.close()
        self.folder.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
