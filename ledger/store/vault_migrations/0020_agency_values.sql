-- Values that an agency keeps for itself: its file numbers of cases, and the filters that it saved.
-- No event and no parcel has them. Each is sealed under a data key: a file number under its person's.

CREATE TABLE {schema}.agency_values (
    id         uuid        PRIMARY KEY,
    case_id    uuid        NOT NULL,
    agency     text        NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('file_number', 'saved_filter')),
    sealed     bytea       NOT NULL,
    key_id     bytea,
    token      bigint,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'file_number') = (token IS NOT NULL AND key_id IS NOT NULL))
);
COMMENT ON COLUMN {schema}.agency_values.case_id IS
    'Of a saved filter: an id that is no case''s, under which the agency has a data key.';
COMMENT ON COLUMN {schema}.agency_values.token IS
    'HMAC-SHA256 of the number, eight bytes, under the secret of the search index.';
CREATE UNIQUE INDEX agency_values_one_number ON {schema}.agency_values (case_id, agency)
    WHERE kind = 'file_number';
CREATE UNIQUE INDEX agency_values_unique_number ON {schema}.agency_values (token, agency, key_id)
    WHERE kind = 'file_number';
CREATE INDEX agency_values_by_agency ON {schema}.agency_values (agency, kind);
CREATE INDEX agency_values_by_case ON {schema}.agency_values (case_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.agency_values TO {role};
