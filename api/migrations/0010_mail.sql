-- E-mail by choice: what each agency chose, and from when on each subscription gets notices.

CREATE TABLE desk.mail_choices (
    agency   text    NOT NULL,
    member   text    NOT NULL DEFAULT '',
    duties   text    NOT NULL CHECK (duties IN ('digest', 'each', 'none')),
    urgent   boolean NOT NULL,
    language text,
    PRIMARY KEY (agency, member)
);
GRANT SELECT, INSERT, DELETE, UPDATE (duties, urgent, language) ON desk.mail_choices
    TO case_ledger_app;

-- A subscription gets no notice of what began before the node first had it.
CREATE TABLE notifications.subscriptions (
    id       uuid        NOT NULL PRIMARY KEY,
    since    timestamptz NOT NULL DEFAULT now(),
    position bigint      NOT NULL
);
INSERT INTO notifications.subscriptions (id, since, position)
SELECT subscription, min(created_at),
    (SELECT coalesce(max(notification_id), 0) FROM ledger.events)
FROM notifications.outbox GROUP BY subscription;
GRANT SELECT, INSERT, DELETE ON notifications.subscriptions TO case_ledger_app;
