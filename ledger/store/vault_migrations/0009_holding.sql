-- What the vault must hold by the ledger, compared with the inventory. So the inventory has a
-- deposit of each action that can disclose anything, also of one that discloses nothing.

ALTER TABLE {schema}.deposits ADD COLUMN whole boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN {schema}.deposits.whole IS
    'Whether the country of origin said that these are all fields for this vault. Fields that came
from another country are not known to be all.';

-- Programs before this migration left no deposit of an action that discloses nothing: the check
-- expects deposits from the next event on.
INSERT INTO {schema}.progress (work, position)
SELECT 'deposits noted from', coalesce(max(notification_id), 0) FROM ledger.events
ON CONFLICT DO NOTHING;

CREATE TABLE {schema}.missing (
    action_id uuid        NOT NULL,
    part      text        NOT NULL CHECK (part IN ('own', 'case', 'released')),
    case_id   uuid        NOT NULL,
    kind      text        NOT NULL,
    origin    text        NOT NULL,
    digests   text[],
    why       text        NOT NULL,
    holders   text[]      NOT NULL,
    position  bigint      NOT NULL,
    since     timestamptz NOT NULL DEFAULT now(),
    lost_at   timestamptz,
    PRIMARY KEY (action_id, part)
);
COMMENT ON COLUMN {schema}.missing.digests IS
    'NULL: which of the action''s digests are of fields is not known here.';
COMMENT ON COLUMN {schema}.missing.lost_at IS 'When every holder had said that it has no more.';
CREATE INDEX missing_by_case ON {schema}.missing (case_id);
CREATE INDEX missing_by_position ON {schema}.missing (position, action_id);

-- What this country's node asked another country's node for, and the signed answers.
CREATE TABLE {schema}.asked (
    action_id   uuid        NOT NULL,
    country     text        NOT NULL,
    asked_at    timestamptz NOT NULL DEFAULT now(),
    times       integer     NOT NULL DEFAULT 1,
    answered_at timestamptz,
    held        text[],
    statement   text,
    PRIMARY KEY (action_id, country)
);
COMMENT ON COLUMN {schema}.asked.held IS 'The digests that the other country says it gave.';
COMMENT ON COLUMN {schema}.asked.statement IS 'The answer as the other country''s node signed it.';

GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.missing, {schema}.asked TO {role};

-- What another country's own agencies disclosed goes back to that country's node, whose vault lost
-- it. The entry of the access log names that node.
CREATE POLICY restored_fields ON {schema}.disclosures FOR SELECT TO {reader} USING (
    level = 'personal' AND received_from IS NOT NULL AND EXISTS (
        SELECT FROM {schema}.readings r
        WHERE r.seq = nullif(current_setting('case_ledger.reading', true), '')::bigint
            AND r.granted AND r.operation = 'restore' AND r.agency_role = 'node'
            AND disclosures.received_from = upper(left(r.agency, 2))
            AND r.case_id = disclosures.case_id
            AND r.recorded_at > now() - interval '1 minute'
            AND disclosures.field_group = ANY (r.groups)
    )
);

DROP FUNCTION {schema}.deposit;
CREATE FUNCTION {schema}.deposit(
    of_cases uuid[], actions uuid[], deposits uuid[], cases uuid[], senders text[],
    wholes boolean[], list_macs bytea[], key_ids bytea[], row_actions uuid[], row_deposits uuid[],
    digests text[], fields text[], levels text[], groups text[], content bytea[], row_macs bytea[],
    durably boolean, OUT erased uuid[], OUT stale uuid[]
) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT durably THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    -- In the order that they are given: the same for everyone.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(id::text, 0))
        FROM unnest(of_cases) AS t (id);
    erased := ARRAY(SELECT e.case_id FROM {schema}.erased e WHERE e.case_id = ANY (of_cases));
    stale := ARRAY(
        SELECT DISTINCT t.deposit_id FROM unnest(deposits, cases, key_ids)
            AS t (deposit_id, case_id, key_id)
        JOIN {schema}.replaced_keys r ON r.case_id = t.case_id AND r.key_id = t.key_id);
    INSERT INTO {schema}.deposits (action_id, deposit_id, case_id, received_from, whole, digests,
        fields, macs, mac)
    SELECT d.action_id, d.deposit_id, d.case_id, d.received_from, d.whole,
        coalesce(array_agg(r.digest ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
        coalesce(array_agg(r.field ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
        coalesce(array_agg(r.mac ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
        d.list_mac
    FROM unnest(actions, deposits, cases, senders, wholes, list_macs)
        AS d (action_id, deposit_id, case_id, received_from, whole, list_mac)
    LEFT JOIN unnest(row_actions, row_deposits, digests, fields, row_macs)
        AS r (action_id, deposit_id, digest, field, mac) USING (action_id, deposit_id)
    WHERE d.case_id <> ALL (erased) AND d.deposit_id <> ALL (stale)
    GROUP BY d.action_id, d.deposit_id, d.case_id, d.received_from, d.whole, d.list_mac
    ON CONFLICT DO NOTHING;
    INSERT INTO {schema}.disclosures (action_id, deposit_id, digest, case_id, field, level,
        field_group, received_from, sealed)
    SELECT r.action_id, r.deposit_id, r.digest, d.case_id, r.field, r.level, r.field_group,
        d.received_from, r.sealed
    FROM unnest(actions, deposits, cases, senders)
        AS d (action_id, deposit_id, case_id, received_from)
    JOIN unnest(row_actions, row_deposits, digests, fields, levels, groups, content)
        AS r (action_id, deposit_id, digest, field, level, field_group, sealed)
        USING (action_id, deposit_id)
    WHERE d.case_id <> ALL (erased) AND d.deposit_id <> ALL (stale)
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION {schema}.deposit IS
    'With durably false, the commit does not wait for the disk: the caller commits something after it.';
REVOKE ALL ON FUNCTION {schema}.deposit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.deposit TO {role};
