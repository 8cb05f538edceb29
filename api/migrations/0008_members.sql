-- The members of agencies. Their names are sealed under keys that are not in this database.

CREATE TABLE access.members (
    id          uuid        PRIMARY KEY,
    party       text        NOT NULL CHECK (length(party) = 2),
    agency      text        NOT NULL,
    sealed      bytea,
    is_head     boolean     NOT NULL DEFAULT false,
    person      text        CHECK (length(person) = 43),
    added_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    UNIQUE (agency, person)
);
CREATE INDEX members_by_agency ON access.members (party, agency);
COMMENT ON COLUMN access.members.id IS
    'The pseudonym by which all countries know the member.';
COMMENT ON COLUMN access.members.sealed IS
    'Name and position: nonce and AES-256-GCM, bound to member and agency. Null once erased.';
COMMENT ON COLUMN access.members.person IS
    'The pseudonym by which the agency''s OpenID provider is known to mean this member.';

-- Who added, changed, disabled, enabled or erased a member, and when.
CREATE TABLE access.member_changes (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    member    uuid        NOT NULL,
    change    text        NOT NULL,
    by_agency text        NOT NULL,
    by_member uuid,
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX member_changes_by_member ON access.member_changes (member, id);

-- A link by which a browser, once, hands in a key for a member. Known by the secret's SHA-256.
CREATE TABLE access.invitations (
    digest     bytea       PRIMARY KEY CHECK (length(digest) = 32),
    member     uuid        NOT NULL REFERENCES access.members ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX invitations_by_expiry ON access.invitations (expires_at);

-- A key that a member's browser made and that waits for the coordinator to register it.
CREATE TABLE access.key_requests (
    key_id   text        PRIMARY KEY CHECK (length(key_id) = 43),
    member   uuid        NOT NULL REFERENCES access.members ON DELETE CASCADE,
    request  jsonb       NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX key_requests_by_member ON access.key_requests (member);

ALTER TABLE access.sessions ADD COLUMN member uuid REFERENCES access.members ON DELETE CASCADE;
CREATE INDEX sessions_by_member ON access.sessions (member) WHERE member IS NOT NULL;

GRANT SELECT, INSERT, UPDATE (sealed, is_head, person, disabled_at) ON access.members
    TO case_ledger_app;
GRANT SELECT, INSERT ON access.member_changes TO case_ledger_app;
GRANT SELECT, INSERT, DELETE ON access.invitations, access.key_requests TO case_ledger_app;
