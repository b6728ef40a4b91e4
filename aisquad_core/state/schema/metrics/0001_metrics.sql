-- Columns that end in `_us` are microseconds: a time since 1970 in UTC, or a duration.
-- A `bin` is the duration's (state/metrics/bins.py); -1 if it does not count among the others, as
-- what was cancelled and what nobody saw end.

CREATE TABLE convoys (
    convoy_id   TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    start_us    INTEGER NOT NULL,
    end_us      INTEGER,
    bin         INTEGER,
    operations  INTEGER NOT NULL,
    completed   INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    cancelled   INTEGER NOT NULL,
    skipped     INTEGER NOT NULL,
    -- Attempts that completed or failed, and how long they took together.
    attempts    INTEGER NOT NULL DEFAULT 0,
    attempts_us INTEGER NOT NULL DEFAULT 0,
    updated_us  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX convoys_by_start ON convoys (start_us);
CREATE INDEX convoys_by_update ON convoys (updated_us);
CREATE INDEX convoys_by_end ON convoys (end_us, status, bin, start_us) WHERE end_us IS NOT NULL;
CREATE INDEX convoys_unfinished ON convoys (status) WHERE end_us IS NULL;

-- One row for each attempt that ended. `is_final` is 0 if another attempt followed by itself.
-- A number is never given twice, so that who counts them can go on behind the last one counted.
CREATE TABLE operations (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    convoy_id   TEXT    NOT NULL,
    item_id     TEXT    NOT NULL,
    agent_id    TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    is_final    INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    ended_us    INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    bin         INTEGER NOT NULL,
    exit_code   INTEGER,
    error       TEXT
);
CREATE INDEX operations_by_end
    ON operations (ended_us, status, is_final, bin, duration_us, agent_id);
CREATE INDEX operations_by_convoy ON operations (convoy_id);
CREATE INDEX operations_failed ON operations (ended_us)
    WHERE is_final AND status IN ('failed', 'lost');

-- What ended in each hour and day (`width_s` 3,600 and 86,400), so that a question about a month
-- reads days and not every operation. `kind` is 'operation' or 'convoy', `outcome` the final
-- status, or 'retried'; `count` has all of them, `sum_us` and `bins` those whose duration counts.
-- `bins` is one big-endian number that holds the count of each bin (state/metrics/bins.py).
CREATE TABLE ends (
    kind     TEXT    NOT NULL,
    width_s  INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    outcome  TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    sum_us   INTEGER NOT NULL,
    bins     BLOB    NOT NULL,
    PRIMARY KEY (kind, width_s, start_us, outcome)
);

-- The same by agent, of final ends and without durations' bins.
CREATE TABLE agent_ends (
    width_s  INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    agent_id TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    sum_us   INTEGER NOT NULL,
    PRIMARY KEY (width_s, start_us, agent_id, outcome)
) WITHOUT ROWID;

-- Every sample of the last two days, and the sums of each minute and hour (`width_s` 60 and 3,600)
-- for as long as all else is kept.
CREATE TABLE samples (
    number         INTEGER PRIMARY KEY,
    at_us          INTEGER NOT NULL,
    cpu_percent    REAL    NOT NULL,
    memory_percent REAL    NOT NULL,
    active_workers REAL    NOT NULL,
    queue_depth    REAL    NOT NULL,
    parallelism    REAL    NOT NULL,
    throttle       REAL    NOT NULL
);
CREATE INDEX samples_by_time ON samples (at_us);

CREATE TABLE sample_sums (
    width_s        INTEGER NOT NULL,
    at_us          INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    cpu_percent    REAL    NOT NULL,
    memory_percent REAL    NOT NULL,
    active_workers REAL    NOT NULL,
    queue_depth    REAL    NOT NULL,
    parallelism    REAL    NOT NULL,
    throttle       REAL    NOT NULL,
    PRIMARY KEY (width_s, at_us)
) WITHOUT ROWID;

CREATE TABLE resizes (
    number      INTEGER PRIMARY KEY,
    at_us       INTEGER NOT NULL,
    previous    INTEGER NOT NULL,
    parallelism INTEGER NOT NULL,
    is_auto     INTEGER NOT NULL,
    reason      TEXT    NOT NULL
);
CREATE INDEX resizes_by_time ON resizes (at_us);
