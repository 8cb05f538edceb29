-- Who owes whom what, in which case: one row for each obligation that there ever was. Whether one
-- is overdue is asked of a moment, so no row says so.

INSERT INTO views.projections (name) VALUES ('obligations');

CREATE TABLE views.obligations (
    slot            text        NOT NULL,
    id              uuid        NOT NULL,
    case_id         uuid        NOT NULL,
    kind            text        NOT NULL,
    debtor          text,
    debtor_agency   text,
    creditors       text[]      NOT NULL,
    state           text        NOT NULL CHECK (state IN ('open', 'discharged', 'lapsed')),
    outcome         text        CHECK ((outcome IS NULL) = (state = 'open')),
    late            boolean,
    opened_position bigint      NOT NULL,
    opened_at       timestamptz NOT NULL,
    due             timestamptz,
    closed_at       timestamptz CHECK ((closed_at IS NULL) = (state = 'open')),
    document        jsonb       NOT NULL,
    PRIMARY KEY (slot, id)
) PARTITION BY LIST (slot);
COMMENT ON COLUMN views.obligations.debtor IS 'NULL: any party to the case.';
COMMENT ON COLUMN views.obligations.opened_at IS 'When it was done, as its agency signed; so closed_at.';
CREATE TABLE views.obligations_a PARTITION OF views.obligations FOR VALUES IN ('a');
CREATE TABLE views.obligations_b PARTITION OF views.obligations FOR VALUES IN ('b');
CREATE INDEX obligations_newest ON views.obligations (slot, opened_position DESC, id DESC);
CREATE INDEX obligations_due ON views.obligations (slot, due, id) WHERE state = 'open';
CREATE INDEX obligations_by_case ON views.obligations (slot, case_id);

GRANT SELECT ON views.obligations TO case_ledger_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON views.obligations TO case_ledger_projector;
GRANT TRUNCATE ON views.obligations_a, views.obligations_b TO case_ledger_projector;
