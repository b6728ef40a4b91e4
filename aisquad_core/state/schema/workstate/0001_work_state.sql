-- A number for each convoy that has items, in the order of their launch.
-- One whose items are not all in yet is hidden from readers, and removed by the next engine.
CREATE TABLE launches (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    convoy_id   TEXT    NOT NULL UNIQUE,
    is_complete INTEGER NOT NULL
);
CREATE INDEX launches_incomplete ON launches (number) WHERE NOT is_complete;

CREATE TABLE convoys (
    number                INTEGER PRIMARY KEY,
    id                    TEXT    NOT NULL UNIQUE,
    name                  TEXT    NOT NULL,
    status                TEXT    NOT NULL,
    created_at            TEXT    NOT NULL,
    updated_at            TEXT    NOT NULL,
    started_at            TEXT,
    finished_at           TEXT,
    total                 INTEGER NOT NULL,
    stop_on_first_failure INTEGER NOT NULL,
    timeout_s             REAL,
    source                TEXT,
    cwd                   TEXT,
    stopping              TEXT,
    reason                TEXT,
    is_local              INTEGER NOT NULL
);
CREATE INDEX convoys_by_status ON convoys (status);

-- place = position - (the convoy's number << 24): ascending, it is the newest convoy first and
-- then the convoy's own order. As the rowid it ends every index, so that each sort has its ties
-- in order, a convoy is a range in each, and items that run together share pages.
CREATE TABLE work_items (
    place        INTEGER PRIMARY KEY,
    convoy_id    TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    agent_id     TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    created_at   TEXT    NOT NULL,
    updated_at   TEXT    NOT NULL,
    position     INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    retries      INTEGER NOT NULL,
    node         TEXT    NOT NULL,
    token        TEXT,
    boot_id      TEXT,
    stopping     TEXT,
    exit_code    INTEGER,
    error        TEXT,
    reason       TEXT,
    started_at   TEXT,
    finished_at  TEXT,
    context      TEXT    NOT NULL,
    metadata     TEXT    NOT NULL,
    artifacts    TEXT    NOT NULL,
    dependencies TEXT    NOT NULL,
    tries        TEXT    NOT NULL,
    operation    TEXT,
    UNIQUE (convoy_id, id)
);
CREATE INDEX work_items_by_status   ON work_items (status);
CREATE INDEX work_items_by_agent    ON work_items (agent_id);
CREATE INDEX work_items_by_id       ON work_items (id);
CREATE INDEX work_items_by_started  ON work_items (started_at)  WHERE started_at IS NOT NULL;
CREATE INDEX work_items_by_finished ON work_items (finished_at) WHERE finished_at IS NOT NULL;

-- The engine's facts, for commands in other processes; one row.
CREATE TABLE engine (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    pid         INTEGER NOT NULL,
    boot_id     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    started_at  TEXT    NOT NULL,
    parallelism INTEGER NOT NULL,
    baseline    INTEGER NOT NULL,
    max         INTEGER NOT NULL,
    auto        INTEGER NOT NULL,
    throttle    REAL    NOT NULL,
    reason      TEXT    NOT NULL,
    updated_at  TEXT    NOT NULL
);

-- How often the database was marked; the same number stands in a file beside it. One row.
CREATE TABLE mark (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL
);
