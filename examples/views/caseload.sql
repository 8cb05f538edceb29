-- name: caseload
-- version: 1
-- Open cases by corridor and by the stage that they have come to.
SELECT corridor, stage, count(*) AS cases
FROM cases
WHERE closure IS NULL
GROUP BY corridor, stage
ORDER BY corridor, stage
