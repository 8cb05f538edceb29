-- One country's vault: the disclosures that its own agencies handed in.
-- {schema} and {role} are this country's; no other role is granted anything.

CREATE SCHEMA IF NOT EXISTS {schema};

-- Each request makes a deposit of its own, so that a refused one takes out nothing that
-- another, accepted one put in for the same action.
CREATE TABLE {schema}.disclosures (
    action_id   uuid        NOT NULL,
    deposit_id  uuid        NOT NULL,
    digest      text        NOT NULL,
    case_id     uuid        NOT NULL,
    field       text        NOT NULL,
    level       text        NOT NULL CHECK (level IN ('case', 'personal')),
    field_group text        CHECK ((level = 'personal') = (field_group IS NOT NULL)),
    disclosure  text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (action_id, digest, deposit_id)
);
CREATE INDEX disclosures_by_case ON {schema}.disclosures (case_id);
CREATE INDEX disclosures_by_age ON {schema}.disclosures (received_at);

REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, DELETE ON {schema}.disclosures TO {role};
