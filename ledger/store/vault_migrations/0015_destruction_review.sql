-- What one annulled action disclosed is opened to decide on its destruction. The entry of the access
-- log names that action: the database opens no personal row of another one.
CREATE POLICY reviewed_fields ON {schema}.disclosures FOR SELECT TO {reader} USING (
    level = 'personal' AND EXISTS (
        SELECT FROM {schema}.readings r
        WHERE r.seq = nullif(current_setting('case_ledger.reading', true), '')::bigint
            AND r.granted AND r.operation = 'review_destruction'
            AND r.agency_role IN ('coordinator', 'court', 'oversight')
            AND r.case_id = disclosures.case_id
            AND r.recorded_at > now() - interval '1 minute'
            AND disclosures.action_id = (r.entry::jsonb ->> 'concerning')::uuid
    )
);
