-- Readiness asks every two seconds which events are marked: few are, and the index has these alone.
CREATE INDEX audit_trail_marked ON views.audit_trail (slot, position) WHERE document ? 'mark';
