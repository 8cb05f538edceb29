-- A case's state names the destructions of annulled actions' disclosures. Rows that were written
-- before lack them: they are folded again from the first event.

TRUNCATE views.case_views, views.audit_trail, views.obligations;
DELETE FROM views.tracking WHERE projection IN ('case_views', 'audit_trail', 'obligations');
