-- A proposed erasure or destruction is owed its approval. Rows that were written before are folded again from the first
-- event.

TRUNCATE views.obligations;
DELETE FROM views.tracking WHERE projection = 'obligations';
