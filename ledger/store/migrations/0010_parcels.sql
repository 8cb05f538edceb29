-- A parcel keeps its row until its sender has collected what became of it: the acknowledgement that
-- the recipient signed, or the notice that it expired or was lost here.

ALTER TABLE mailbox.parcels
    ADD COLUMN digest          bytea,
    ADD COLUMN bytes           integer GENERATED ALWAYS AS (octet_length(sealed)) STORED,
    ADD COLUMN outcome         text CHECK (outcome IN ('acknowledged', 'expired', 'lost')),
    ADD COLUMN acknowledgement text CHECK (octet_length(acknowledgement) <= 4096),
    ADD COLUMN decided_at      timestamptz,
    ADD CHECK ((outcome IS NULL) = (decided_at IS NULL)),
    ADD CHECK ((outcome IS NOT DISTINCT FROM 'acknowledged') = (acknowledgement IS NOT NULL)),
    ADD CHECK (outcome IS NULL OR sealed = '');
COMMENT ON COLUMN mailbox.parcels.digest IS
    'SHA-256 of what the sender handed in; empty for parcels of an earlier program.';
COMMENT ON COLUMN mailbox.parcels.outcome IS 'Empty while the parcel waits.';

DROP INDEX mailbox.parcels_by_recipient;
CREATE INDEX parcels_waiting ON mailbox.parcels (recipient, sender, seq) INCLUDE (received_at, bytes)
    WHERE outcome IS NULL;
CREATE INDEX parcels_waiting_since ON mailbox.parcels (received_at) WHERE outcome IS NULL;
CREATE INDEX parcels_decided ON mailbox.parcels (sender, seq) WHERE outcome IS NOT NULL;
CREATE INDEX parcels_of_pair ON mailbox.parcels (sender, recipient) INCLUDE (bytes);

GRANT UPDATE (seq, sealed, digest, received_at, outcome, acknowledgement, decided_at)
    ON mailbox.parcels TO case_ledger_app;
