-- Contents of documents that other countries disclosed: fetched chunk by chunk from their nodes.
-- A row of `documents` is made with the field that names the document, before any chunk is here.

ALTER TABLE {schema}.documents ADD COLUMN received_from text;
COMMENT ON COLUMN {schema}.documents.received_from IS
    'The country whose agency added the document, where that is another.';

-- A document that is fetched has an action and is not whole.
DO $$
DECLARE
    one name;
BEGIN
    FOR one IN SELECT conname FROM pg_constraint
        WHERE conrelid = '{schema}.documents'::regclass AND contype = 'c'
            AND pg_get_constraintdef(oid) = 'CHECK (((action_id IS NULL) OR is_whole))'
    LOOP
        EXECUTE format('ALTER TABLE {schema}.documents DROP CONSTRAINT %I', one);
    END LOOP;
END
$$;

-- One row for each document that another country's node gives, or gives back.
CREATE TABLE {schema}.contents_expected (
    document_id uuid        NOT NULL PRIMARY KEY REFERENCES {schema}.documents ON DELETE CASCADE,
    digest      text        NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    asked       text,
    asked_at    timestamptz,
    tries       integer     NOT NULL DEFAULT 0,
    came_at     timestamptz,
    refused     text,
    refused_at  timestamptz,
    held_at     timestamptz,
    told_at     timestamptz
);
CREATE INDEX contents_awaited ON {schema}.contents_expected (asked_at)
    WHERE held_at IS NULL OR told_at IS NULL;
COMMENT ON COLUMN {schema}.contents_expected.digest IS
    'The digest of the disclosure that names the document, as in the ledger.';
COMMENT ON COLUMN {schema}.contents_expected.asked IS 'The country that was asked last.';
COMMENT ON COLUMN {schema}.contents_expected.tries IS
    'How often it was asked since a part of the content came last.';
COMMENT ON COLUMN {schema}.contents_expected.came_at IS 'When a part of the content came last.';
COMMENT ON COLUMN {schema}.contents_expected.refused IS
    'The rule by which this node does not fetch it, or the other node does not give it.';
COMMENT ON COLUMN {schema}.contents_expected.held_at IS
    'When the whole content was here, and its SHA-256 was the signed one.';
COMMENT ON COLUMN {schema}.contents_expected.told_at IS
    'When the signed statement that it is held was handed in for the country that gave it.';
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.contents_expected TO {role};

-- The contents that this country gave, and the signed statements of those who verified them.
CREATE TABLE {schema}.contents_given (
    action_id uuid        NOT NULL,
    digest    text        NOT NULL,
    recipient text        NOT NULL,
    case_id   uuid        NOT NULL,
    begun_at  timestamptz NOT NULL DEFAULT now(),
    last_at   timestamptz NOT NULL DEFAULT now(),
    held_at   timestamptz,
    statement text        CHECK (octet_length(statement) <= 4096),
    PRIMARY KEY (action_id, digest, recipient),
    CHECK ((held_at IS NULL) = (statement IS NULL))
);
COMMENT ON COLUMN {schema}.contents_given.digest IS
    'The digest of the disclosure that names the document, as in the ledger.';
COMMENT ON COLUMN {schema}.contents_given.statement IS
    'The recipient''s node signed that it holds the content, and that the SHA-256 is the signed one.';
CREATE INDEX contents_given_by_case ON {schema}.contents_given (case_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.contents_given TO {role};

-- The role that keeps reads and writes chunks until a content is whole, to check its digest.
ALTER POLICY kept ON {schema}.document_chunks
    USING (EXISTS (SELECT FROM {schema}.documents d
        WHERE d.document_id = document_chunks.document_id
            AND (d.action_id IS NULL OR NOT d.is_whole)))
    WITH CHECK (EXISTS (SELECT FROM {schema}.documents d
        WHERE d.document_id = document_chunks.document_id
            AND (d.action_id IS NULL OR NOT d.is_whole)));

-- What another country's own agencies added goes back to that country's node, whose vault lost it.
-- The entry of the access log names that node.
CREATE POLICY restored ON {schema}.documents FOR SELECT TO {reader} USING (
    level = 'personal' AND received_from IS NOT NULL AND EXISTS (
        SELECT FROM {schema}.readings r
        WHERE r.seq = nullif(current_setting('case_ledger.reading', true), '')::bigint
            AND r.granted AND r.operation = 'restore' AND r.agency_role = 'node'
            AND documents.received_from = upper(left(r.agency, 2))
            AND r.case_id = documents.case_id
            AND r.recorded_at > now() - interval '15 minutes'
            AND documents.field_group = ANY (r.groups)
    )
);
-- Nobody reads a content that is not whole, nor what rests on an action that is not recorded now.
CREATE POLICY whole ON {schema}.documents AS RESTRICTIVE FOR SELECT TO {reader} USING (
    is_whole AND NOT EXISTS (
        SELECT FROM {schema}.set_aside s WHERE s.action_id = documents.action_id)
);
