-- What other countries disclosed of actions that are not in the ledger any more: the copy went on
-- beyond the parties' decision to take over. Nobody reads it until the action is recorded again.

CREATE TABLE {schema}.set_aside (
    action_id    uuid        NOT NULL PRIMARY KEY,
    set_aside_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, DELETE ON {schema}.set_aside TO {role};
GRANT SELECT ON {schema}.set_aside TO {reader};

CREATE POLICY not_set_aside ON {schema}.disclosures AS RESTRICTIVE FOR SELECT TO {reader} USING (
    NOT EXISTS (SELECT FROM {schema}.set_aside s WHERE s.action_id = disclosures.action_id)
);
