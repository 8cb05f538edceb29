-- Documents: the content in chunks that are encrypted under a key of the document's own.
-- While a document is only an upload, its content key is sealed to the country's public key. Once an
-- action has the document, the content key is encrypted under the person's data key.
-- No column has a digest of the content in clear.

CREATE TABLE {schema}.documents (
    document_id uuid        NOT NULL PRIMARY KEY,
    case_id     uuid        NOT NULL,
    agency      text        NOT NULL,
    size        bigint      NOT NULL CHECK (size > 0),
    received    bigint      NOT NULL DEFAULT 0 CHECK (received BETWEEN 0 AND size),
    is_whole    boolean     NOT NULL DEFAULT false,
    upload_key  bytea,
    content_key bytea,
    metadata    bytea       NOT NULL,
    action_id   uuid,
    field       text,
    level       text        CHECK (level IN ('case', 'personal')),
    field_group text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    touched_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(upload_key, content_key) = 1),
    CHECK ((action_id IS NULL) = (content_key IS NULL)),
    CHECK ((action_id IS NULL) = (level IS NULL) AND (action_id IS NULL) = (field IS NULL)),
    CHECK ((level IS NOT DISTINCT FROM 'personal') = (field_group IS NOT NULL)),
    CHECK (action_id IS NULL OR is_whole),
    CHECK (received = size OR NOT is_whole)
);
COMMENT ON COLUMN {schema}.documents.is_whole IS
    'The whole content is here, and its SHA-256 is the one that the agency declared.';
COMMENT ON COLUMN {schema}.documents.upload_key IS
    'The content key, sealed to the country''s public key: only while no action has the document.';
COMMENT ON COLUMN {schema}.documents.content_key IS
    'The content key under the person''s data key, bound to document, case and action.';
COMMENT ON COLUMN {schema}.documents.metadata IS
    'SHA-256 and media type, under the content key.';
CREATE INDEX documents_by_case ON {schema}.documents (case_id, agency);
CREATE INDEX documents_by_action ON {schema}.documents (action_id) WHERE action_id IS NOT NULL;
CREATE INDEX documents_unused ON {schema}.documents (touched_at) WHERE action_id IS NULL;

-- Where chunks lie in an object store, this table is empty.
CREATE TABLE {schema}.document_chunks (
    document_id uuid    NOT NULL REFERENCES {schema}.documents ON DELETE CASCADE,
    number      integer NOT NULL CHECK (number >= 0),
    sealed      bytea   NOT NULL,
    PRIMARY KEY (document_id, number)
);
-- Encrypted bytes do not compress.
ALTER TABLE {schema}.document_chunks ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- Chunks in an object store are removed after the row is: the sweep removes them by this list.
CREATE TABLE {schema}.removed_documents (
    document_id uuid        NOT NULL PRIMARY KEY,
    removed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION {schema}.note_removed_documents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.removed_documents (document_id) SELECT document_id FROM removed
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_removed AFTER DELETE ON {schema}.documents
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_removed_documents();

-- The role that keeps reads the chunks of uploads, to check their digest. It reads no chunk of a
-- document that an action has. The role that reads sees what the access log says. A download takes
-- longer than the reading of a field: the entry opens the document for 15 minutes.
ALTER TABLE {schema}.documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.document_chunks ENABLE ROW LEVEL SECURITY;
CREATE POLICY kept ON {schema}.documents TO {role} USING (true) WITH CHECK (true);
CREATE POLICY kept ON {schema}.document_chunks TO {role}
    USING (EXISTS (SELECT FROM {schema}.documents d
        WHERE d.document_id = document_chunks.document_id AND d.action_id IS NULL))
    WITH CHECK (EXISTS (SELECT FROM {schema}.documents d
        WHERE d.document_id = document_chunks.document_id AND d.action_id IS NULL));
CREATE POLICY opened ON {schema}.documents FOR SELECT TO {reader} USING (
    EXISTS (
        SELECT FROM {schema}.readings r
        WHERE r.seq = nullif(current_setting('case_ledger.reading', true), '')::bigint
            AND r.granted
            AND r.case_id = documents.case_id
            AND r.recorded_at > now() - interval '15 minutes'
            AND (documents.level = 'case'
                OR documents.field_group = ANY (r.groups)
                AND EXISTS (SELECT FROM {schema}.access_matrix m
                    WHERE m.role = r.agency_role AND m.operation = r.operation
                        AND m.field_group = documents.field_group))
    )
);
-- The rows of `documents` that this role sees decide.
CREATE POLICY opened ON {schema}.document_chunks FOR SELECT TO {reader} USING (
    EXISTS (SELECT FROM {schema}.documents d WHERE d.document_id = document_chunks.document_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.documents TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.document_chunks TO {role};
GRANT SELECT, INSERT, DELETE ON {schema}.removed_documents TO {role};
GRANT SELECT ON {schema}.documents, {schema}.document_chunks TO {reader};

-- The check of a vault compares the chunks of each document with its size. It opens none.
CREATE VIEW {schema}.held_chunks WITH (security_barrier) AS
SELECT document_id, count(*) AS chunks, sum(octet_length(sealed)) AS bytes
FROM {schema}.document_chunks GROUP BY document_id;
GRANT SELECT ON {schema}.held_chunks TO {role};
