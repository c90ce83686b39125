CREATE TABLE entries (
    key TEXT PRIMARY KEY, bytes INTEGER NOT NULL, nanos INTEGER NOT NULL,
    created REAL NOT NULL, expires REAL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_use ON entries (used);
CREATE INDEX by_expiry ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counts VALUES
    ('bytes', 0), ('entries', 0), ('hits', 0), ('misses', 0), ('evictions', 0), ('nanos', 0);
CREATE TRIGGER added AFTER INSERT ON entries BEGIN
    UPDATE counts SET value = value + NEW.bytes WHERE name = 'bytes';
    UPDATE counts SET value = value + 1 WHERE name = 'entries';
END;
CREATE TRIGGER removed AFTER DELETE ON entries BEGIN
    UPDATE counts SET value = value - OLD.bytes WHERE name = 'bytes';
    UPDATE counts SET value = value - 1 WHERE name = 'entries';
END;
CREATE TABLE outcomes (token TEXT PRIMARY KEY, text TEXT NOT NULL, expires REAL NOT NULL)
    WITHOUT ROWID;
