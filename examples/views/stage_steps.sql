-- name: stage_steps
-- version: 2
-- One row for each case and step that it began: the days until the step's end, or until the case
-- was lost from view (closed, merged, or the last act of the ledger). Others build on it.
WITH firsts AS (
    SELECT case_id,
        min(CASE WHEN kind = 'case_opened' THEN first_at END) AS opened_at,
        min(CASE WHEN kind IN ('victim_identified', 'not_a_victim') THEN first_at END)
            AS assessed_at,
        min(CASE WHEN kind = 'return_decided' THEN first_at END) AS decided_at,
        min(CASE WHEN kind = 'departed' THEN first_at END) AS departed_at,
        min(CASE WHEN kind = 'received' THEN first_at END) AS received_at,
        min(CASE WHEN kind IN ('case_closed', 'case_merged') THEN first_at END) AS closed_at
    FROM steps
    GROUP BY case_id
), last_act AS (
    SELECT max(acted_at) AS seen_until FROM standing
), steps AS (
    SELECT case_id, '1 opened to assessed' AS step, opened_at AS began_at,
        assessed_at AS ended_at, closed_at FROM firsts
    UNION ALL
    SELECT case_id, '2 assessed to return decided', assessed_at, decided_at, closed_at FROM firsts
    UNION ALL
    SELECT case_id, '3 return decided to departed', decided_at, departed_at, closed_at FROM firsts
    UNION ALL
    SELECT case_id, '4 departed to received', departed_at, received_at, closed_at FROM firsts
), bounded AS (
    SELECT s.case_id, s.step, s.began_at, s.ended_at,
        coalesce(s.ended_at, s.closed_at, l.seen_until) AS until
    FROM steps s CROSS JOIN last_act l
    WHERE s.began_at IS NOT NULL
)
SELECT case_id, step,
    CAST(floor(greatest(unix_timestamp(until) - unix_timestamp(began_at), 0) / 86400) AS BIGINT)
        AS days,
    CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END AS ended
FROM bounded
ORDER BY step, case_id
