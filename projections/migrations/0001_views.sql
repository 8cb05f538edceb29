-- Views are folds of the ledger. Each has two slots: readers read the live one,
-- a rebuild fills the other and the pointer moves in one transaction.

CREATE SCHEMA IF NOT EXISTS views;

CREATE TABLE views.projections (
    name      text NOT NULL PRIMARY KEY,
    live_slot text NOT NULL DEFAULT 'a' CHECK (live_slot IN ('a', 'b'))
);
INSERT INTO views.projections (name) VALUES ('case_views'), ('audit_trail');

CREATE FUNCTION views.live_slot(projection text) RETURNS text
LANGUAGE sql STABLE AS 'SELECT live_slot FROM views.projections WHERE name = projection';

-- How far each slot has followed the ledger, written with the rows themselves.
CREATE TABLE views.tracking (
    projection       text   NOT NULL REFERENCES views.projections (name),
    slot             text   NOT NULL,
    application_name text   NOT NULL,
    notification_id  bigint NOT NULL,
    PRIMARY KEY (projection, slot, application_name)
);

-- viewer is a country's code, or 'oversight' for the one view of every case.
CREATE TABLE views.case_views (
    slot            text   NOT NULL,
    viewer          text   NOT NULL,
    case_id         uuid   NOT NULL,
    version         bigint NOT NULL,
    position        bigint NOT NULL,
    opened_position bigint NOT NULL,
    status          text   NOT NULL,
    stage           text   NOT NULL,
    priority        text   NOT NULL,
    lead_agency     text   NOT NULL,
    awaits_us       boolean NOT NULL,
    document        jsonb  NOT NULL,
    PRIMARY KEY (slot, viewer, case_id)
) PARTITION BY LIST (slot);
CREATE TABLE views.case_views_a PARTITION OF views.case_views FOR VALUES IN ('a');
CREATE TABLE views.case_views_b PARTITION OF views.case_views FOR VALUES IN ('b');
CREATE INDEX case_views_newest ON views.case_views (slot, viewer, opened_position DESC);

CREATE TABLE views.audit_trail (
    slot      text   NOT NULL,
    case_id   uuid   NOT NULL,
    version   bigint NOT NULL,
    position  bigint NOT NULL,
    key_id    text   NOT NULL,
    signature text   NOT NULL,
    document  jsonb  NOT NULL,
    PRIMARY KEY (slot, case_id, version)
) PARTITION BY LIST (slot);
CREATE TABLE views.audit_trail_a PARTITION OF views.audit_trail FOR VALUES IN ('a');
CREATE TABLE views.audit_trail_b PARTITION OF views.audit_trail FOR VALUES IN ('b');
CREATE INDEX audit_trail_by_key ON views.audit_trail (slot, key_id);

REVOKE ALL ON SCHEMA views FROM PUBLIC;
GRANT USAGE ON SCHEMA views TO case_ledger_app, case_ledger_projector;
GRANT SELECT ON views.projections, views.tracking, views.case_views, views.audit_trail
    TO case_ledger_app;
GRANT SELECT, UPDATE ON views.projections TO case_ledger_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON views.tracking TO case_ledger_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON views.case_views, views.audit_trail
    TO case_ledger_projector;
GRANT TRUNCATE ON views.case_views_a, views.case_views_b, views.audit_trail_a,
    views.audit_trail_b TO case_ledger_projector;
-- The projector reads the ledger and writes views; it can record nothing.
GRANT USAGE ON SCHEMA ledger TO case_ledger_projector;
GRANT SELECT ON ledger.events TO case_ledger_projector;
