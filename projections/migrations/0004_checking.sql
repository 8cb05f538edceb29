-- How far the continuous check of the views has come, and what it found. The check compares the rows
-- of each case with a new fold of the case's events, in the order of the cases' ids.

CREATE TABLE views.checking (
    is_only     boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (is_only),
    above       uuid,
    begun_at    timestamptz,
    finished_at timestamptz,
    passes      bigint      NOT NULL DEFAULT 0
);
COMMENT ON COLUMN views.checking.above IS 'The next part begins above this case; NULL: a new pass.';
COMMENT ON COLUMN views.checking.finished_at IS 'When the last complete pass ended.';
INSERT INTO views.checking DEFAULT VALUES;

CREATE TABLE views.differences (
    view      text        NOT NULL PRIMARY KEY,
    this_pass bigint      NOT NULL DEFAULT 0,
    last_pass bigint      NOT NULL DEFAULT 0,
    found_at  timestamptz NOT NULL
);
COMMENT ON TABLE views.differences IS
    'Rows that differ from the ledger, by view; a rebuild of the view removes the row.';

GRANT SELECT ON views.checking, views.differences TO case_ledger_app;
GRANT SELECT, UPDATE ON views.checking TO case_ledger_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON views.differences TO case_ledger_projector;
