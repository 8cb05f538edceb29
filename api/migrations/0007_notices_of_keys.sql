-- A notice may be of a key that ends, and then of no obligation.

ALTER TABLE notifications.outbox ALTER COLUMN obligation_id DROP NOT NULL;
