-- name: overdue_by_creditor
-- version: 2
-- What is owed to each country, by the country that owes it and the reason: how much there ever was,
-- how much was discharged late, and how much is open and was due before the ledger's last event.
-- What a correction annulled was never owed. A deadline that is only assumed makes nobody late.
WITH last_event AS (
    SELECT max(recorded_at) AS moment FROM events
), countries AS (
    SELECT DISTINCT party FROM events WHERE party <> ''
)
SELECT c.party AS creditor, coalesce(o.debtor, 'any') AS debtor, o.kind AS kind, count(*) AS owed,
    count(CASE WHEN o.late THEN 1 END) AS discharged_late,
    count(CASE WHEN o.state = 'open' THEN 1 END) AS open,
    count(CASE WHEN o.state = 'open' AND o.due < l.moment AND NOT o.ends_with_its_day THEN 1 END)
        AS overdue
FROM obligations o
JOIN countries c ON array_contains(o.creditors, c.party)
CROSS JOIN last_event l
WHERE o.outcome IS NULL OR o.outcome <> 'annulled'
GROUP BY c.party, coalesce(o.debtor, 'any'), o.kind
ORDER BY creditor, debtor, kind
