-- Who read what: an access log of each vault, and row-level security that opens nothing personal
-- without an entry in it. {reader} is the role that reads, {role} the one that keeps.

CREATE TABLE {schema}.access_matrix (
    role        text NOT NULL,
    operation   text NOT NULL,
    field_group text NOT NULL,
    PRIMARY KEY (role, operation, field_group)
);
COMMENT ON TABLE {schema}.access_matrix IS
    'The protocol''s access matrix, written by `case-ledger migrate`: what is not here is denied.';

CREATE TABLE {schema}.readings (
    seq         bigint      NOT NULL PRIMARY KEY CHECK (seq > 0),
    recorded_at timestamptz NOT NULL,
    agency      text        NOT NULL,
    agency_role text        NOT NULL,
    case_id     uuid        NOT NULL,
    operation   text        NOT NULL,
    groups      text[]      NOT NULL,
    granted     boolean     NOT NULL,
    entry       text        NOT NULL,
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32)
);
COMMENT ON COLUMN {schema}.readings.hash IS
    'SHA-256 of the hash before it and of this entry: none can be changed or left out unnoticed.';
CREATE INDEX readings_by_case ON {schema}.readings (case_id, seq);
CREATE TRIGGER readings_never_change BEFORE UPDATE OR DELETE ON {schema}.readings
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER readings_never_truncated BEFORE TRUNCATE ON {schema}.readings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Which country's agencies recorded a disclosure, where it was not this one's.
ALTER TABLE {schema}.disclosures ADD COLUMN received_from text;

-- Of a person who was erased nothing comes in again, from its agencies, by mail or by a sweep.
CREATE TABLE {schema}.erased (
    case_id      uuid        NOT NULL PRIMARY KEY,
    erased_at    timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz
);
CREATE INDEX erased_unconfirmed ON {schema}.erased (case_id) WHERE confirmed_at IS NULL;

-- How far each of the vault's own works has followed the ledger.
CREATE TABLE {schema}.progress (
    work     text   NOT NULL PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0)
);

-- Who keeps cannot read; who reads cannot change, and sees what the access log says.
ALTER TABLE {schema}.disclosures ENABLE ROW LEVEL SECURITY;
REVOKE SELECT ON {schema}.disclosures FROM {role};
GRANT SELECT (action_id, deposit_id, digest, case_id, field, level, field_group, disclosure,
    received_at, received_from) ON {schema}.disclosures TO {role};
CREATE POLICY kept ON {schema}.disclosures TO {role} USING (true) WITH CHECK (true);
CREATE POLICY case_fields ON {schema}.disclosures FOR SELECT TO {reader} USING (level = 'case');
CREATE POLICY personal_fields ON {schema}.disclosures FOR SELECT TO {reader} USING (
    level = 'personal' AND EXISTS (
        SELECT FROM {schema}.readings r
        JOIN {schema}.access_matrix m
            ON m.role = r.agency_role AND m.operation = r.operation
        WHERE r.seq = nullif(current_setting('case_ledger.reading', true), '')::bigint
            AND r.granted
            AND r.case_id = disclosures.case_id
            AND r.recorded_at > now() - interval '1 minute'
            AND disclosures.field_group = ANY (r.groups)
            AND m.field_group = disclosures.field_group
    )
);

GRANT USAGE ON SCHEMA {schema} TO {reader};
GRANT SELECT ON {schema}.disclosures, {schema}.readings, {schema}.access_matrix TO {reader};
GRANT SELECT, INSERT ON {schema}.readings TO {role};
GRANT SELECT, INSERT ON {schema}.erased TO {role};
GRANT UPDATE (confirmed_at) ON {schema}.erased TO {role};
GRANT SELECT, INSERT, UPDATE ON {schema}.progress TO {role};
