-- The notices ask every half minute which actions were recorded with an approval: the index has these alone.
CREATE INDEX audit_trail_approved ON views.audit_trail (slot, position) WHERE document ? 'approved_by';
