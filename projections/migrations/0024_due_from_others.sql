-- "Due from others" is found from the cases that an agency leads and from what is owed to it, instead of along every
-- open obligation.

CREATE INDEX case_views_led ON views.case_views (slot, viewer, lead_agency) INCLUDE (case_id);
CREATE INDEX obligations_owed_to_agency ON views.obligations (slot, creditor_agency, due, id)
    INCLUDE (case_id) WHERE state = 'open' AND creditor_agency IS NOT NULL;
