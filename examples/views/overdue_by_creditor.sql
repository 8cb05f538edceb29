-- name: overdue_by_creditor
-- version: 1
-- Requests for information by the country that waits and the one that owes the answer: how many
-- there were, how many have none yet, and how many of these were due before the ledger's last act.
WITH last_act AS (
    SELECT CAST(max(acted_at) AS DATE) AS today FROM standing
), answered AS (
    SELECT case_id, request FROM information_provided
    UNION ALL
    SELECT case_id, request FROM information_declined
), asked AS (
    SELECT r.case_id, r.party AS creditor, r.addressee AS debtor, r.answer_by, l.today,
        CASE WHEN EXISTS (SELECT 1 FROM answered a
            WHERE a.case_id = r.case_id AND a.request = r.action_id) THEN 0 ELSE 1 END AS is_open
    FROM information_requested r
    JOIN standing s ON s.position = r.position
    CROSS JOIN last_act l
)
SELECT creditor, debtor, count(*) AS requests, count(CASE WHEN is_open = 1 THEN 1 END) AS open,
    count(CASE WHEN is_open = 1 AND answer_by < today THEN 1 END) AS overdue
FROM asked
GROUP BY creditor, debtor
ORDER BY creditor, debtor
