-- The member of an agency to whom a case is assigned, and the deputy. Members are pseudonyms. Nothing of it is
-- shared with another agency.

CREATE TABLE {schema}.assignments (
    agency      text        NOT NULL,
    case_id     uuid        NOT NULL,
    member      uuid        NOT NULL,
    deputy      uuid        CHECK (deputy <> member),
    by_member   uuid,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agency, case_id)
);
CREATE INDEX assignments_by_member ON {schema}.assignments (agency, member);
CREATE INDEX assignments_by_deputy ON {schema}.assignments (agency, deputy) WHERE deputy IS NOT NULL;
CREATE INDEX assignments_by_case ON {schema}.assignments (case_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.assignments TO {role};
