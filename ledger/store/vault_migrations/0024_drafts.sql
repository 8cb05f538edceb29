-- Actions that an author signed and that wait for the approval of another member of the agency. What an action
-- says, and a remark on it, are under the person's data key. They are never shared.

CREATE TABLE {schema}.drafts (
    action_id    uuid        NOT NULL PRIMARY KEY,
    case_id      uuid        NOT NULL,
    agency       text        NOT NULL,
    author       uuid        NOT NULL,
    kind         text        NOT NULL,
    state        text        NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'returned', 'approved')),
    case_version integer     NOT NULL,
    sealed       bytea       NOT NULL,
    sent_at      timestamptz NOT NULL DEFAULT now(),
    decided_by   uuid,
    decided_at   timestamptz,
    refused_by   text,
    remark       bytea
);
COMMENT ON COLUMN {schema}.drafts.author IS 'The pseudonym of the member who signed the action.';
COMMENT ON COLUMN {schema}.drafts.sealed IS
    'Nonce and AES-256-GCM of the signed action with its disclosures, bound to action, case, agency and author.';
COMMENT ON COLUMN {schema}.drafts.refused_by IS 'The rule by which the ledger node refused the approved action.';
CREATE INDEX drafts_by_agency ON {schema}.drafts (agency, sent_at);
CREATE INDEX drafts_by_case ON {schema}.drafts (case_id);

-- Drafts that their authors took back: an approval of one of them, from wherever it comes, is refused.
CREATE TABLE {schema}.drafts_taken_back (
    action_id uuid        NOT NULL PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now()
);

-- The role that keeps reads no content. The role that reads sees the one draft that an entry of the access log of
-- the last minute names.
ALTER TABLE {schema}.drafts ENABLE ROW LEVEL SECURITY;
CREATE POLICY kept ON {schema}.drafts TO {role} USING (true) WITH CHECK (true);
CREATE POLICY looked_at ON {schema}.drafts FOR SELECT TO {reader} USING (
    EXISTS (
        SELECT FROM {schema}.readings r
        WHERE r.seq = nullif(current_setting('case_ledger.reading', true), '')::bigint
            AND r.granted AND r.operation = 'read_draft'
            AND r.agency = drafts.agency
            AND r.case_id = drafts.case_id
            AND r.recorded_at > now() - interval '1 minute'
            AND drafts.action_id = (r.entry::jsonb ->> 'concerning')::uuid
    )
);
GRANT SELECT (action_id, case_id, agency, author, kind, state, case_version, sent_at, decided_by, decided_at,
    refused_by), INSERT, DELETE, UPDATE (state, decided_by, decided_at, refused_by, remark)
    ON {schema}.drafts TO {role};
GRANT SELECT ON {schema}.drafts TO {reader};
GRANT SELECT, INSERT, DELETE ON {schema}.drafts_taken_back TO {role};
