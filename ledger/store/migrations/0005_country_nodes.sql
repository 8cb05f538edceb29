-- What a country's node keeps besides its copy of the ledger: proof of a log that contradicts
-- itself, and the actions of its agencies that the ledger node has not decided on yet.

CREATE TABLE log.evidence (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    found_at    timestamptz NOT NULL,
    source      text        NOT NULL,
    what        text        NOT NULL,
    held        text        NOT NULL,
    refused     text        NOT NULL,
    settled_at  timestamptz,
    settled_why text        CHECK ((settled_at IS NULL) = (settled_why IS NULL))
);
COMMENT ON TABLE log.evidence IS
    'Two signed notes that cannot both be true. Nothing more is copied while one is not settled.';
CREATE TRIGGER evidence_never_truncated BEFORE TRUNCATE ON log.evidence
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
GRANT SELECT, INSERT ON log.evidence TO case_ledger_app;
GRANT UPDATE (settled_at, settled_why) ON log.evidence TO case_ledger_app;

CREATE SCHEMA outbox;

CREATE TABLE outbox.actions (
    seq          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action_id    uuid        NOT NULL UNIQUE,
    agency       text        NOT NULL,
    party        text        NOT NULL,
    case_id      uuid,
    case_version bigint      NOT NULL CHECK (case_version >= 0),
    sd_jwt       text        NOT NULL CHECK (sd_jwt LIKE '%~' AND sd_jwt NOT LIKE '%~%~'),
    deposit_id   uuid,
    state        text        NOT NULL CHECK (state IN ('waiting', 'sent', 'recorded', 'refused')),
    answer       jsonb       CHECK ((state = 'refused') <= (answer IS NOT NULL)),
    received_at  timestamptz NOT NULL DEFAULT now(),
    sent_at      timestamptz,
    decided_at   timestamptz
);
COMMENT ON COLUMN outbox.actions.sd_jwt IS 'What the agency signed, without any disclosure.';
CREATE INDEX actions_undecided ON outbox.actions (seq) WHERE state IN ('waiting', 'sent');
CREATE INDEX actions_by_agency ON outbox.actions (agency, seq);
CREATE INDEX actions_by_party ON outbox.actions (party, seq);

REVOKE ALL ON SCHEMA outbox FROM PUBLIC;
GRANT USAGE ON SCHEMA outbox TO case_ledger_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox.actions TO case_ledger_app;
