-- Notes and reminders of an agency on a case, and the cases that it flagged. They are never shared. The text
-- is under the person's data key. `member` is empty for what concerns the whole agency.

CREATE TABLE {schema}.working_notes (
    id         uuid        NOT NULL PRIMARY KEY,
    case_id    uuid        NOT NULL,
    agency     text        NOT NULL,
    member     text        NOT NULL DEFAULT '',
    day        date,
    sealed     bytea       NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    done_at    timestamptz CHECK (done_at IS NULL OR day IS NOT NULL)
);
COMMENT ON COLUMN {schema}.working_notes.day IS 'Of a reminder; NULL: it is a note.';
COMMENT ON COLUMN {schema}.working_notes.sealed IS
    'Nonce and AES-256-GCM of the text, bound to note, case, agency, member and day.';
CREATE INDEX working_notes_by_case ON {schema}.working_notes (case_id);
CREATE INDEX working_notes_due ON {schema}.working_notes (agency, member, day, id)
    WHERE day IS NOT NULL AND done_at IS NULL;

CREATE TABLE {schema}.flags (
    agency     text        NOT NULL,
    member     text        NOT NULL DEFAULT '',
    case_id    uuid        NOT NULL,
    flagged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agency, member, case_id)
);
CREATE INDEX flags_by_case ON {schema}.flags (case_id);

-- The role that keeps reads no text. The role that reads sees the notes of one agency at a time.
ALTER TABLE {schema}.working_notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY kept ON {schema}.working_notes TO {role} USING (true) WITH CHECK (true);
CREATE POLICY own_notes ON {schema}.working_notes FOR SELECT TO {reader} USING (
    agency = current_setting('case_ledger.notes_of', true)
);
GRANT SELECT (id, case_id, agency, member, day, written_at, done_at), INSERT, DELETE,
    UPDATE (done_at) ON {schema}.working_notes TO {role};
GRANT SELECT ON {schema}.working_notes TO {reader};
GRANT SELECT, INSERT, DELETE ON {schema}.flags TO {role};
