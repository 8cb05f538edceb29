-- A case's state names its opening, and a proposal to close it as opened in error. Rows that were
-- written before lack them: they are folded again from the first event.

TRUNCATE views.case_views, views.audit_trail, views.obligations;
DELETE FROM views.tracking WHERE projection IN ('case_views', 'audit_trail', 'obligations');
