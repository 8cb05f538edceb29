"""The table of cases: a wide row for each, with the names and codes of HTCDS where there are any.

The table is computed from the exported events, so that it costs no second reading of the ledger.
Its state of a case is the state that ``ledger.procedure.case_fold`` folds; a test compares the two.
A run adds the new rows of the cases that it touches; of each case, the row of the highest version
counts.

Columns with a prefix such as ``cas_`` and their codes are those of the Human Trafficking Case Data
Standard 2.0 (IOM, CC BY 4.0); see docs/htcds/ATTRIBUTION.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from duckdb import DuckDBPyConnection

from ledger.procedure.agreement import Agreement
from ledger.vocabulary import CASE_ACTIONS, NOT_UNDERSTOOD
from ledger.vocabulary.picklists import Stage
from projections.columnar.column_shapes import MOMENT
from projections.columnar.duckdb_tables import connect
from projections.columnar.manifest import SPILL, FileEntry
from projections.columnar.parquet_writer import TableWriter

CASES_VERSION = 2
AT_ONCE = 100_000
"""Cases whose rows are made at once, so that memory does not grow with their number."""


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    schema: Any


_TEXTS = pa.list_(pa.string())
CASES = _Table(
    "cases",
    pa.schema(
        [
            pa.field("case_id", pa.string(), nullable=False),
            ("case_version", pa.int64()),
            ("position", pa.int64()),
            ("opened_position", pa.int64()),
            ("opened_at", MOMENT),
            ("last_recorded_at", MOMENT),
            ("age_group", pa.string()),
            ("home", pa.string()),
            ("countries", _TEXTS),
            ("corridor", pa.string()),
            ("parties", _TEXTS),
            ("stage", pa.string()),
            ("priority", pa.string()),
            ("closure", pa.string()),
            ("closed_at", MOMENT),
            ("identified_at", MOMENT),
            ("return_destination", pa.string()),
            ("departed_at", MOMENT),
            ("received_at", MOMENT),
            ("merged_into", pa.string()),
            ("cas_Status", pa.string()),
            ("cas_CaseOwner", pa.string()),
            ("cas_IncomingReferralDate", MOMENT),
            ("cas_ReferringOrganisation", pa.string()),
            ("cas_ReferredOrganisation", pa.string()),
            ("cas_ReasonForOutgoingReferral", pa.string()),
            ("cas_OutgoingReferralDate", MOMENT),
            ("trafficking_status_kind", pa.string()),
            ("vic_TraffickingStatus", pa.string()),
            ("vic_TraffickingStatusDecisionMakingOrg", pa.string()),
            ("vic_AgreementToManagePersonalData", pa.bool_()),
            ("con_Consent", _TEXTS),
            ("prs_Deceased", pa.bool_()),
            ("spl_Type", _TEXTS),
            ("spl_PlannedEndDate", pa.date32()),
            ("spl_ActualEndDate", pa.date32()),
        ]
    ),
)
"""``trafficking_status_kind`` is the kind of action that states the status; it is NULL where none
does, and the person is taken for a possible victim. ``home`` is the country that opened the case,
``corridor`` that with those named at the opening; ``con_Consent`` lists the scopes in which consent
stands."""

_DETAILS = {
    "case_opened": "age_group, countries, protected_as AS trafficking_status",
    "indicators_assessed": "protected_as AS trafficking_status",
    "age_assessed": "age_group",
    "victim_identified": "status AS trafficking_status, decided_by",
    "victim_status_changed": "status AS trafficking_status, decided_by",
    "not_a_victim": "'NotAVictimOfTrafficking' AS trafficking_status, decided_by",
    "case_prioritised": "priority",
    "meeting_held": "countries",
    "return_decided": "destination, [destination] AS countries",
    "return_requested": "[destination] AS countries",
    "outcome_overridden": "[destination] AS countries",
    "state_notified": "[country] AS countries",
    "person_referred": "[country] AS countries",
    "information_requested": "[addressee] AS addressed",
    "form_sent": "[addressee] AS addressed",
    "merge_proposed": "[addressee] AS addressed",
    "merge_accepted": "countries",
    "merge_declined": "proposal",
    "case_merged": "continues_in",
    "merge_undone": "merge",
    "joint_action_agreed": "responsible AS addressed",
    "lead_transfer_offered": "[to_agency] AS addressed, to_agency, reason AS referral_reason",
    "lead_transfer_accepted": "offer",
    "case_closed": "reason AS closure",
    "reintegration_planned": "plan_types, planned_end_date",
    "reintegration_monitored": "finding",
    "consent_given": "scopes",
    "consent_withdrawn": "scopes",
    "refusal_recorded": "[subject] AS scopes",
}
"""The fields of an action that a case's row needs, besides those of all actions."""

_STATUS = "protected_as"
"""The field that an earlier version of ``case_opened`` lacks."""

_ACTS = """
CREATE OR REPLACE TEMP TABLE acts AS
SELECT a.*, (SELECT max(v.number) FROM versions v
    WHERE v.adopted_at < a.position AND v.earliest <= a.recorded_at) AS protocol_version
FROM every_act a SEMI JOIN touched t ON t.case_id = a.case_id
WHERE hash(a.case_id) % ? = ?
"""
_CORRECTIONS = """
CREATE OR REPLACE TEMP VIEW corrections AS
SELECT case_id, corrects FROM acts WHERE effect = 'annulled'
UNION ALL SELECT case_id, merge FROM acts WHERE kind = 'merge_undone'
"""
_COLUMNS = "case_id, position, case_version, recorded_at, acted_at, action_id, agency, party, kind"

_CASES = """
WITH standing AS MATERIALIZED (
    -- A correction that annuls the opening closes the case.
    SELECT a.* REPLACE (
        CASE WHEN o.action_id IS NULL THEN a.kind ELSE 'case_closed' END AS kind,
        CASE WHEN o.action_id IS NULL THEN a.closure ELSE 'opened_in_error' END AS closure)
    FROM acts a
    LEFT JOIN acts o ON a.effect = 'annulled' AND o.kind = 'case_opened'
        AND o.case_id = a.case_id AND o.action_id = a.corrects
    WHERE a.kind = 'case_opened' OR (a.kind <> 'not_understood' AND NOT EXISTS (
        SELECT 1 FROM corrections c WHERE c.case_id = a.case_id AND c.corrects = a.action_id))
), joined AS (
    SELECT case_id, party FROM standing WHERE kind IN ('case_opened', 'case_reopened')
    UNION SELECT case_id, unnest(countries) FROM standing
    UNION SELECT s.case_id, g.party FROM (
        SELECT case_id, unnest(addressed) AS agency FROM standing m
        WHERE m.kind <> 'merge_proposed' OR NOT EXISTS (
            SELECT 1 FROM standing d WHERE d.kind = 'merge_declined'
                AND d.case_id = m.case_id AND d.proposal = m.action_id)
            -- The undoing of a merge ends its proposal too. Its announcement names no own action.
            AND NOT EXISTS (SELECT 1 FROM standing u WHERE u.kind = 'merge_undone'
                AND u.case_id = m.case_id AND u.position > m.position
                AND EXISTS (SELECT 1 FROM acts w
                    WHERE w.case_id = u.case_id AND w.action_id = u.merge))) s
    JOIN agencies g ON g.id = s.agency
), parties AS (
    SELECT case_id, list_sort(list(party)) AS parties FROM joined GROUP BY case_id
), scoped AS (
    SELECT case_id, unnest(scopes) AS scope, position, kind FROM standing WHERE scopes IS NOT NULL
), consents AS (
    SELECT case_id, list_sort(list(scope)) AS scopes FROM (
        SELECT case_id, scope FROM scoped GROUP BY case_id, scope
        HAVING arg_max(kind, position) = 'consent_given') GROUP BY case_id
), accepted AS (
    SELECT a.case_id, arg_max(o.agency, a.position) AS referring
    FROM standing a JOIN acts o ON o.case_id = a.case_id AND o.action_id = a.offer
    GROUP BY a.case_id
), lasting AS (
    SELECT case_id, max(case_version) AS case_version, max(position) AS position,
        max(recorded_at) AS last_recorded_at FROM acts GROUP BY case_id
), folded AS (
    SELECT s.case_id,
        min(s.position) AS opened_position,
        arg_min(s.acted_at, s.position) AS opened_at,
        arg_max(s.age_group, s.position) FILTER (s.age_group IS NOT NULL) AS age_group,
        arg_min(s.party, s.position) AS home,
        arg_min(s.countries, s.position) AS countries,
        max(t.place) AS place,
        COALESCE(arg_max(s.priority, s.position) FILTER (s.kind = 'case_prioritised'), 'normal')
            AS priority,
        arg_max(s.kind, s.position) FILTER (s.kind IN (
            'case_closed', 'case_reopened', 'case_merged')) AS last_closing,
        arg_max(s.continues_in, s.position) FILTER (s.kind = 'case_merged') AS merged_into,
        arg_max(s.closure, s.position) FILTER (s.kind = 'case_closed') AS closure,
        arg_max(s.recorded_at, s.position) FILTER (s.kind = 'case_closed') AS closed_at,
        arg_min(s.acted_at, s.position) FILTER (s.kind = 'victim_identified') AS identified_at,
        arg_max(s.destination, s.position) FILTER (s.kind = 'return_decided')
            AS return_destination,
        arg_max(s.acted_at, s.position) FILTER (s.kind = 'departed') AS departed_at,
        arg_max(s.acted_at, s.position) FILTER (s.kind = 'received') AS received_at,
        arg_max(COALESCE(st.status, CASE s.closure WHEN 'referred' THEN 'ClosedReferred'
            ELSE 'Closed' END), s.position)
            FILTER (s.kind <> 'case_opened' AND (st.status IS NOT NULL
                OR s.kind IN ('case_closed', 'case_merged')))
            AS status,
        arg_max(s.agency, s.position) FILTER (s.kind IN ('case_opened', 'lead_transfer_accepted'))
            AS owner,
        arg_max(s.acted_at, s.position) FILTER (s.kind = 'lead_transfer_accepted') AS incoming_at,
        arg_max(s.to_agency, s.position) FILTER (s.kind = 'lead_transfer_offered') AS referred,
        arg_max(s.referral_reason, s.position) FILTER (s.kind = 'lead_transfer_offered')
            AS referral_reason,
        arg_max(s.acted_at, s.position) FILTER (s.kind = 'lead_transfer_offered') AS outgoing_at,
        arg_max(s.trafficking_status, s.position) FILTER (s.trafficking_status IS NOT NULL)
            AS trafficking_status,
        arg_max(s.kind, s.position) FILTER (s.trafficking_status IS NOT NULL)
            AS trafficking_status_kind,
        -- A person at risk and a potential victim are not decided on: no body is named.
        arg_max_null(s.decided_by, s.position) FILTER (s.trafficking_status IS NOT NULL)
            AS decided_by,
        arg_max(s.plan_types, s.position) FILTER (s.kind = 'reintegration_planned') AS plan_types,
        arg_max(s.planned_end_date, s.position) FILTER (s.kind = 'reintegration_planned'
            AND s.planned_end_date IS NOT NULL) AS planned_end_date,
        arg_max(CAST(s.acted_at AS DATE), s.position)
            FILTER (s.finding = 'successfully_reintegrated') AS actual_end_date
    FROM standing s
    LEFT JOIN statuses st ON st.kind = s.kind AND st.version = s.protocol_version
    LEFT JOIN stages t ON t.kind = s.kind
    GROUP BY s.case_id
    HAVING bool_or(s.kind = 'case_opened')
)
SELECT f.case_id, l.case_version, l.position, f.opened_position, f.opened_at, l.last_recorded_at,
    f.age_group, f.home, f.countries,
    array_to_string(list_prepend(f.home, list_filter(f.countries, lambda c: c <> f.home)), '-')
        AS corridor,
    p.parties, n.stage, f.priority,
    CASE f.last_closing WHEN 'case_closed' THEN f.closure END AS closure,
    CASE f.last_closing WHEN 'case_closed' THEN f.closed_at END AS closed_at,
    f.identified_at, f.return_destination, f.departed_at, f.received_at,
    f.merged_into, COALESCE(f.status, 'Active') AS "cas_Status", f.owner AS "cas_CaseOwner",
    f.incoming_at AS "cas_IncomingReferralDate", r.referring AS "cas_ReferringOrganisation",
    f.referred AS "cas_ReferredOrganisation", f.referral_reason AS "cas_ReasonForOutgoingReferral",
    f.outgoing_at AS "cas_OutgoingReferralDate",
    f.trafficking_status_kind,
    COALESCE(f.trafficking_status, 'PossibleVictimOfTrafficking') AS "vic_TraffickingStatus",
    f.decided_by AS "vic_TraffickingStatusDecisionMakingOrg",
    COALESCE(list_has_any(c.scopes, ['assistance', 'information_exchange']), false)
        AS "vic_AgreementToManagePersonalData",
    COALESCE(c.scopes, []) AS "con_Consent",
    COALESCE(f.last_closing = 'case_closed' AND f.closure = 'deceased', false) AS "prs_Deceased",
    f.plan_types AS "spl_Type", f.planned_end_date AS "spl_PlannedEndDate",
    f.actual_end_date AS "spl_ActualEndDate"
FROM folded f JOIN lasting l USING (case_id) JOIN names n ON n.place = f.place
LEFT JOIN parties p USING (case_id) LEFT JOIN consents c USING (case_id)
LEFT JOIN accepted r USING (case_id)
ORDER BY f.case_id
"""

_OF_CASES = frozenset({*CASE_ACTIONS, NOT_UNDERSTOOD})
"""Kinds that a case's row is made of: events that are not understood count to its version."""
_PLACES = (Stage.IDENTIFICATION, Stage.PROTECTION, Stage.INCLUSION, Stage.RETURN)
"""The stages that a case passes through, and never back."""


def write_cases(
    directory: Path,
    events: Sequence[FileEntry],
    made: Sequence[FileEntry],
    agreement: Agreement,
    first: int,
    last: int,
) -> list[FileEntry]:
    """Write the rows, as of ``last``, of the cases that the files ``made`` have events of."""
    if not any(_kind(file) in _OF_CASES for file in made):
        return []
    path = f"cases/{first:012}-{last:012}.parquet"
    writer = TableWriter(directory, CASES.name, path, first)
    with (
        TemporaryDirectory(prefix=SPILL, dir=directory) as spill,
        connect(Path(spill)) as connection,
    ):
        for batch in _rows(connection, directory, events, made, agreement):
            writer.write(batch)
    return [writer.finish(last)]


def _rows(
    connection: DuckDBPyConnection,
    directory: Path,
    events: Sequence[FileEntry],
    made: Sequence[FileEntry],
    agreement: Agreement,
) -> Iterator[Any]:
    _put_facts(connection, agreement)
    _view_of_acts(connection, "touching", directory, made)
    connection.execute(
        "CREATE TEMP TABLE touched AS SELECT DISTINCT case_id FROM touching"
        " WHERE case_id IS NOT NULL"
    )
    touched = connection.execute("SELECT count(*) FROM touched").fetchall()[0][0]
    _view_of_acts(connection, "every_act", directory, events)
    parts = -(-touched // AT_ONCE)
    for part in range(parts):
        connection.execute(_ACTS, (parts, part))
        connection.execute(_CORRECTIONS)
        for batch in connection.sql(_CASES).to_arrow_reader(50_000):
            yield pa.Table.from_batches([batch]).cast(CASES.schema)


def _put_facts(connection: DuckDBPyConnection, agreement: Agreement) -> None:
    """Write the data of the protocol's versions that the fold of a case needs into tables."""
    agencies = {a.id: a.party for protocol in agreement.protocols() for a in protocol.agencies}
    numbered = list(enumerate(agreement.versions))
    tables: tuple[tuple[str, str, list[tuple[Any, ...]]], ...] = (
        ("agencies", "id VARCHAR, party VARCHAR", [*agencies.items()]),
        (
            "versions",
            "number INTEGER, adopted_at BIGINT, earliest TIMESTAMPTZ",
            [(n, version.adopted_at, version.earliest) for n, version in numbered],
        ),
        (
            "statuses",
            "version INTEGER, kind VARCHAR, status VARCHAR",
            [
                (n, kind, rule.sets_status.value)
                for n, version in numbered
                for kind, rule in version.protocol.actions.items()
                if rule.sets_status
            ],
        ),
        (
            "stages",
            "kind VARCHAR, place INTEGER",
            [(k, _PLACES.index(m.stage)) for k, m in CASE_ACTIONS.items() if m.stage in _PLACES],
        ),
        (
            "names",
            "place INTEGER, stage VARCHAR",
            [(n, stage.value) for n, stage in enumerate(_PLACES)],
        ),
    )
    for name, columns, rows in tables:
        connection.execute(f"CREATE TEMP TABLE {name} ({columns})")
        if rows:
            places = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {name} VALUES ({places})", rows)  # noqa: S608


def _view_of_acts(
    connection: DuckDBPyConnection, name: str, directory: Path, files: Sequence[FileEntry]
) -> None:
    """Create a view of the case actions in these files, with a column for each needed detail."""
    paths: dict[str, list[str]] = {}
    for file in files:
        if (kind := _kind(file)) in _OF_CASES:
            paths.setdefault(kind, []).append(str(directory / file.path))
    parts = [f"SELECT * FROM ({_NOTHING})"]  # noqa: S608
    for kind, of_kind in sorted(paths.items()):
        view = f"{name}_{kind}"
        # Files of an earlier program lack the fields that a kind has since then.
        of_all = connection.read_parquet(of_kind, hive_partitioning=False, union_by_name=True)
        of_all.create_view(view)
        details = ", corrects, effect" if kind == "correction" else ""
        if kind in _DETAILS:
            details = f", {_DETAILS[kind]}"
            if _STATUS not in of_all.columns:
                details = details.replace(_STATUS, "NULL::VARCHAR")
        parts.append(f"SELECT {_COLUMNS}{details} FROM {view}")  # noqa: S608
    connection.execute(f"CREATE TEMP VIEW {name} AS {' UNION ALL BY NAME '.join(parts)}")


_NOTHING = """
SELECT NULL::VARCHAR AS age_group, NULL::VARCHAR[] AS countries,
    NULL::VARCHAR AS trafficking_status, NULL::VARCHAR AS decided_by, NULL::VARCHAR AS priority,
    NULL::VARCHAR AS destination, NULL::VARCHAR[] AS addressed, NULL::VARCHAR AS to_agency,
    NULL::VARCHAR AS referral_reason, NULL::VARCHAR AS offer, NULL::VARCHAR AS closure,
    NULL::VARCHAR[] AS plan_types, NULL::DATE AS planned_end_date, NULL::VARCHAR AS finding,
    NULL::VARCHAR[] AS scopes, NULL::VARCHAR AS corrects, NULL::VARCHAR AS effect,
    NULL::VARCHAR AS proposal, NULL::VARCHAR AS continues_in, NULL::VARCHAR AS merge
WHERE false
"""
"""Every detail, so that a kind without files leaves no column out."""


def _kind(file: FileEntry) -> str:
    return file.table.removeprefix("events/")
