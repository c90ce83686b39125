-- seq sorts by the time in the id, so newest first is the table backwards. The id is in the key.
CREATE TABLE images (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    etag TEXT NOT NULL,
    model TEXT NOT NULL,
    operation TEXT NOT NULL,
    format TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    nano_usd INTEGER,
    pinned INTEGER NOT NULL,
    parent TEXT
);
CREATE INDEX by_model ON images (model);
-- The usual ones are soon found without.
CREATE INDEX by_operation ON images (operation) WHERE operation <> 'generate';
CREATE INDEX by_format ON images (format) WHERE format <> 'png';
-- As good as the whole: 64 bits of a hash tell any images of a store apart.
CREATE INDEX by_digest ON images (substr(sha256, 1, 8));
CREATE INDEX by_parent ON images (parent) WHERE parent IS NOT NULL;
CREATE INDEX by_pinned ON images (pinned) WHERE pinned;

-- Apart from the rows above, so that scans of those stay small.
CREATE TABLE sidecars (
    seq INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    tags TEXT NOT NULL,
    body BLOB NOT NULL
);
-- Beginnings of two and three letters match thousands of words, so those have an index too.
CREATE VIRTUAL TABLE words USING fts5 (
    prompt, tags, content='sidecars', content_rowid='seq',
    prefix='2 3', tokenize='unicode61 remove_diacritics 2'
);

CREATE TABLE tags (
    tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tag, seq)
) WITHOUT ROWID;
CREATE INDEX tags_of ON tags (seq);

CREATE TABLE sources (
    sha256 TEXT NOT NULL, seq INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (sha256, seq)
) WITHOUT ROWID;
CREATE INDEX sources_of ON sources (seq);

CREATE TABLE hashes (
    hash TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (hash, seq)
) WITHOUT ROWID;
CREATE INDEX hashes_of ON hashes (seq);

-- Sidecars that are being written or removed: looked at again after a crash.
CREATE TABLE IF NOT EXISTS journal (key TEXT PRIMARY KEY, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL);

-- Kept up by triggers, so that `stats` reads a few rows instead of every one.
CREATE TABLE totals (
    kind TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL,
    bytes INTEGER NOT NULL, nano_usd INTEGER NOT NULL, unknown INTEGER NOT NULL,
    pinned INTEGER NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID;
