-- To which agencies an event came: forms, requests, answers, releases, handovers, dangers, new cases. Rows that
-- were written before are folded again from the first event.

TRUNCATE views.audit_trail;
DELETE FROM views.tracking WHERE projection = 'audit_trail';

ALTER TABLE views.audit_trail
    ADD COLUMN action_id uuid NOT NULL,
    ADD COLUMN arrives text[] NOT NULL;
COMMENT ON COLUMN views.audit_trail.arrives IS
    'Sort and receiver, such as "form me-police": an agency, a country, or a role of a country.';
CREATE INDEX audit_trail_arrivals ON views.audit_trail (slot, position DESC)
    INCLUDE (arrives, case_id, action_id) WHERE arrives <> '{}';

-- By which the lists of one agency's duties are found along an index alone.
TRUNCATE views.obligations;
DELETE FROM views.tracking WHERE projection = 'obligations';

ALTER TABLE views.obligations
    ADD COLUMN action text NOT NULL,
    ADD COLUMN roles text[] NOT NULL,
    ADD COLUMN creditor_agency text,
    ADD COLUMN expected_by timestamptz;
CREATE INDEX obligations_duties ON views.obligations (slot, due, id)
    INCLUDE (case_id, debtor, debtor_agency, roles, creditors, creditor_agency, action, expected_by)
    WHERE state = 'open';
