-- name: service_network
-- version: 2
-- Pairs of agencies that worked for the same persons, and for how many: the edges of a network.
-- An agency with itself has all persons for whom it did anything.
WITH works AS (
    SELECT DISTINCT case_id, agency, party FROM standing
    WHERE case_id IN (SELECT case_id FROM standing_case_opened)
)
SELECT a.agency AS agency, b.agency AS with_agency, count(*) AS persons,
    max(CASE WHEN a.party = b.party THEN 0 ELSE 1 END) AS across_border
FROM works a
JOIN works b ON b.case_id = a.case_id AND a.agency <= b.agency
GROUP BY a.agency, b.agency
ORDER BY agency, with_agency
