-- What an agency read of what came to it. Nothing here is personal: ids of actions, agencies and times.
-- `member` is empty for what concerns the whole agency.

CREATE SCHEMA desk;

CREATE TABLE desk.read_marks (
    agency    text        NOT NULL,
    member    text        NOT NULL DEFAULT '',
    action_id uuid        NOT NULL,
    read_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agency, member, action_id)
);

-- All up to a position is read, while the ledger has this action there: a tail may be moved out.
CREATE TABLE desk.read_upto (
    agency    text   NOT NULL,
    member    text   NOT NULL DEFAULT '',
    position  bigint NOT NULL CHECK (position >= 0),
    action_id uuid   NOT NULL,
    PRIMARY KEY (agency, member)
);

-- What was recorded before there were marks counts as read.
CREATE TABLE desk.start (position bigint NOT NULL);
INSERT INTO desk.start SELECT coalesce(max(notification_id), 0) FROM ledger.events;

REVOKE ALL ON SCHEMA desk FROM PUBLIC;
GRANT USAGE ON SCHEMA desk TO case_ledger_app;
GRANT SELECT ON desk.start TO case_ledger_app;
GRANT SELECT, INSERT, DELETE ON desk.read_marks TO case_ledger_app;
GRANT SELECT, INSERT, UPDATE (position, action_id) ON desk.read_upto TO case_ledger_app;
