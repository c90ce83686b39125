CREATE TABLE calls (
    id TEXT PRIMARY KEY, at REAL NOT NULL, operation TEXT NOT NULL, model TEXT NOT NULL,
    outcome TEXT NOT NULL, cached INTEGER NOT NULL, images INTEGER NOT NULL,
    estimate_nanos INTEGER, reserved_nanos INTEGER NOT NULL, cost_nanos INTEGER,
    counted_nanos INTEGER NOT NULL,
    input_tokens INTEGER, output_tokens INTEGER, total_tokens INTEGER, text_tokens INTEGER,
    image_tokens INTEGER, output_text_tokens INTEGER, svg_tokens INTEGER,
    request_id TEXT, error TEXT, seconds REAL, prompt TEXT,
    host TEXT NOT NULL, pid INTEGER, until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_time ON calls (at);
CREATE INDEX unanswered ON calls (outcome) WHERE outcome = 'open';
CREATE TABLE hours (hour INTEGER PRIMARY KEY, nanos INTEGER NOT NULL);
CREATE TRIGGER entered AFTER INSERT ON calls BEGIN
    INSERT INTO hours VALUES (CAST(NEW.at / 3600 AS INTEGER), NEW.counted_nanos)
        ON CONFLICT (hour) DO UPDATE SET nanos = nanos + excluded.nanos;
END;
CREATE TRIGGER corrected AFTER UPDATE OF counted_nanos ON calls BEGIN
    UPDATE hours SET nanos = nanos + NEW.counted_nanos - OLD.counted_nanos
        WHERE hour = CAST(OLD.at / 3600 AS INTEGER);
END;
CREATE TRIGGER removed AFTER DELETE ON calls BEGIN
    UPDATE hours SET nanos = nanos - OLD.counted_nanos
        WHERE hour = CAST(OLD.at / 3600 AS INTEGER);
END;
