"""Everything that a node stores: each table and each file, for how long, and what ends it.

A test compares the tables with those of a migrated database, and the writers of files with the
program's code: so whoever adds one of them states here how it ends.
"""

from dataclasses import dataclass
from enum import StrEnum


class Concerns(StrEnum):
    """The persons whom a stored thing tells of."""

    VICTIM = "person of the case"
    """Fields on the person, sealed under the person's data key."""
    CASE = "case, no person"
    """Ids of cases and actions, digests, and fields that every party may see."""
    OFFICIAL = "official"
    """Pseudonyms, names or acts of people who work for agencies."""
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Kept:
    """One place, or several that end alike."""

    places: tuple[str, ...]
    """Tables as ``schema.table``, where ``vault_xx`` and ``witness_xx`` stand for each party's; of
    files, the place in the data directory or where the command is told to write."""
    holds: str
    concerns: Concerns
    until: str
    ended_by: str
    writers: tuple[str, ...] = ()
    """Of files: the modules that write them."""


def _vault(*names: str) -> tuple[str, ...]:
    return tuple(f"vault_xx.{name}" for name in names)


_ERASURE = "`api/background_jobs/eraser.py`, `Vault.erase`"
_NEVER = "never: the ledger is the proof of who did what"

TABLES = (
    Kept(
        _vault("disclosures", "deposits"),
        "the person's fields, sealed, and the inventory of them",
        Concerns.VICTIM,
        "the erasure by retention or by order; of an annulled action, its destruction",
        _ERASURE,
    ),
    Kept(
        _vault("documents", "document_chunks", "contents_expected", "contents_given"),
        "documents in sealed chunks, and which of them go to or come from another country",
        Concerns.VICTIM,
        "as the fields; an upload that no action has, a day; chunks without a document, a week",
        f"{_ERASURE}; `api/background_jobs/janitor.py`",
    ),
    Kept(
        _vault("removed_documents"),
        "ids of documents whose chunks an object store has still",
        Concerns.CASE,
        "the removal of the chunks, within ten minutes",
        "`api/background_jobs/janitor.py`",
    ),
    Kept(
        _vault("search_index", "search_due"),
        "keyed tokens of names and numbers",
        Concerns.VICTIM,
        "with the field that they are of",
        "the database, by a trigger on `disclosures`",
    ),
    Kept(
        _vault("agency_values", "working_notes", "flags", "assignments"),
        "an agency's own file numbers, saved filters, notes, reminders, flags and assignments",
        Concerns.VICTIM,
        "the erasure of the person; the agency's own removal; a saved filter, only the latter",
        _ERASURE,
    ),
    Kept(
        _vault("drafts"),
        "actions that wait for a second member's approval, signed and sealed, and remarks on them",
        Concerns.VICTIM,
        "the recording of the action; the author's withdrawal; the erasure of the person; 91 days",
        f"{_ERASURE}; `api/services/drafts.py`, `api/background_jobs/janitor.py`",
    ),
    Kept(
        _vault("drafts_taken_back"),
        "ids of actions that were withdrawn, so that no approval of one is taken",
        Concerns.CASE,
        "91 days",
        "`api/background_jobs/janitor.py`",
    ),
    Kept(
        _vault(
            "duplicates",
            "match_asked",
            "match_candidates",
            "match_cases",
            "match_foreign_cases",
            "match_pairs",
            "match_received",
            "match_received_tokens",
            "match_tokens",
        ),
        "masked points of identities and possible duplicates",
        Concerns.VICTIM,
        "the erasure of the person; of another country's case, that country's word",
        f"{_ERASURE}; `api/exchange/duplicate_matcher.py`",
    ),
    Kept(
        _vault("readings"),
        "the access log: which agency and which pseudonymous member asked for which groups of"
        " fields, when and for what; no value",
        Concerns.OFFICIAL,
        "`CASE_LEDGER_ACCESS_LOG_DAYS` (3650), and not before the person's fields are gone from"
        " this vault; from the beginning of the log on, once the ledger has fixed the entries",
        "`api/background_jobs/endings.py`; the database refuses less than 365 days",
    ),
    Kept(
        _vault("readings_ended"),
        "number and hash of the last entry that each removal took from the access log",
        Concerns.NOBODY,
        "never: the rest of the log is verified from there",
        "nothing",
    ),
    Kept(
        _vault("erased", "destroyed", "replaced_keys"),
        "ids of erased cases, destroyed actions and replaced keys",
        Concerns.CASE,
        "never: by them nothing of an erased person comes in again",
        "nothing",
    ),
    Kept(
        _vault("set_aside"),
        "sealed fields of actions that another history of the ledger does not have",
        Concerns.VICTIM,
        "the decision on the action; the erasure destroys the key that opens them",
        "`api/continuity/setting_aside.py`, `Vault.erase`",
    ),
    Kept(
        _vault("parcels_sent"),
        "names of parcels to other countries, and whether they arrived",
        Concerns.CASE,
        "90 days after the acknowledgement",
        "`api/background_jobs/janitor.py`",
    ),
    Kept(
        _vault("missing", "asked"),
        "fields that are missing here, and when they were asked for",
        Concerns.CASE,
        "the arrival of the field, or that nobody must hold it any more",
        "`api/background_jobs/vault_checker.py`",
    ),
    Kept(
        _vault("parcels_waiting", "parcels_refused", "daily_quotas", "progress", "access_matrix"),
        "counts for each other country, marks of progress, the protocol's access matrix",
        Concerns.NOBODY,
        "each is overwritten",
        "the next look of the same job",
    ),
    Kept(
        ("ledger.events", "ledger.head", "ledger.tree"),
        "signed actions: fields at `ledger` level, digests of the others, agencies, pseudonyms of"
        " members in the registrations of keys",
        Concerns.CASE,
        _NEVER,
        "nothing; the digests of erased fields open no more",
    ),
    Kept(
        (
            "log.cosignatures",
            "log.dated_checkpoints",
            "log.evidence",
            "log.false_decisions",
            "log.history_decisions",
            "log.own_keys",
            "log.published",
            "log.signed",
            "log.submissions",
            "log.tail_events",
            "log.tail_records",
            "log.tails",
            "log.timestamps",
            "log.trusted_policies",
            "log.unread_leaves",
            "log.unread_signed",
            "witness_xx.cosigned",
            "witness_xx.evidence",
            "witness_xx.log_keys",
            "witness_xx.resets",
        ),
        "checkpoints, cosignatures, timestamps, and evidence of faults of the log; a decision of an"
        " operator has the name that the operator gave",
        Concerns.OFFICIAL,
        _NEVER,
        "nothing",
    ),
    Kept(
        (
            "views.audit_trail",
            "views.audit_trail_a",
            "views.audit_trail_b",
            "views.case_views",
            "views.case_views_a",
            "views.case_views_b",
            "views.checking",
            "views.differences",
            "views.obligations",
            "views.obligations_a",
            "views.obligations_b",
            "views.projections",
            "views.tracking",
        ),
        "views that are folded from the events; fields at `ledger` level",
        Concerns.CASE,
        "as long as the events; a rebuild replaces them",
        "`case-ledger rebuild`",
    ),
    Kept(
        ("outbox.actions",),
        "signed actions on their way to the ledger node, without their fields",
        Concerns.CASE,
        "30 days after the decision",
        "`api/background_jobs/janitor.py`",
    ),
    Kept(
        ("mailbox.parcels",),
        "sealed parcels between countries",
        Concerns.VICTIM,
        "the acknowledgement, which destroys the parcel's key; 30 days otherwise",
        "`ledger/replication/mailbox.py`, `api/background_jobs/janitor.py`",
    ),
    Kept(
        ("access.sessions", "access.sign_ins"),
        "digests of sessions, pseudonyms of people who are signed in",
        Concerns.OFFICIAL,
        "8 hours, or 30 minutes without a request; a sign-in, 10 minutes",
        "`api/background_jobs/janitor.py`",
    ),
    Kept(
        ("access.used_assertions", "access.assertions", "access.uncrashed"),
        "assertions that were used, so that none counts twice",
        Concerns.NOBODY,
        "5 minutes",
        "`api/background_jobs/janitor.py`",
    ),
    Kept(
        ("access.members",),
        "names and positions of members, sealed under a key of each; their pseudonyms",
        Concerns.OFFICIAL,
        "the name: `CASE_LEDGER_MEMBER_NAME_DAYS` (365) after the member was disabled, or at once"
        " by the coordinator; the pseudonym: never, as the ledger has it",
        "`api/background_jobs/endings.py`, `case-ledger members erase`",
    ),
    Kept(
        ("access.member_changes",),
        "which pseudonym or agency added, changed, disabled or erased a member",
        Concerns.OFFICIAL,
        "`CASE_LEDGER_ACCESS_LOG_DAYS` (3650)",
        "`api/background_jobs/endings.py`",
    ),
    Kept(
        ("access.invitations",),
        "digests of links by which a browser hands in a key",
        Concerns.OFFICIAL,
        "their use, or 7 days",
        "`api/background_jobs/endings.py`",
    ),
    Kept(
        ("access.key_requests",),
        "public keys of members that wait for the coordinator",
        Concerns.OFFICIAL,
        "the registration, or `CASE_LEDGER_KEY_REQUEST_DAYS` (30)",
        "`api/background_jobs/endings.py`",
    ),
    Kept(
        ("desk.read_marks", "desk.read_upto", "desk.start"),
        "what an agency or a pseudonymous member has read of what came",
        Concerns.OFFICIAL,
        "a mark: `CASE_LEDGER_READ_MARK_DAYS` (400), then all that came before counts as read;"
        " one row for each member stays",
        "`api/background_jobs/endings.py`",
    ),
    Kept(
        ("desk.mail_choices", "notifications.subscriptions"),
        "what an agency chose to be told of; no address",
        Concerns.OFFICIAL,
        "the next choice; a subscription that the file no longer has",
        "`api/notifying/mail_choices.py`",
    ),
    Kept(
        ("notifications.case_hooks",),
        "how far each webhook for cases is; no address and no message",
        Concerns.NOBODY,
        "that the file of notifications no longer has it, at the next start",
        "`api/notifying/case_hooks.py`",
    ),
    Kept(
        ("notifications.outbox",),
        "notices with ids of cases and agencies, and nothing of a person",
        Concerns.CASE,
        "that nothing is owed any more; sent ones, 30 days after that",
        "`api/notifying/notifier.py`",
    ),
    Kept(
        ("node.work", "migrations.applied"),
        "the state of the worker process; applied migrations",
        Concerns.NOBODY,
        "overwritten; never",
        "the worker process; nothing",
    ),
)

FILES = (
    Kept(
        ("`keys/persons/xx/`", "`keys/masks/xx/`", "`keys/persons/parcels/`"),
        "data keys of persons and of uploads, masks of the comparison, keys of parcels",
        Concerns.VICTIM,
        "the erasure overwrites the key where it stands; a parcel's, its acknowledgement",
        "`ledger/vault/key_store.py`, `ledger/vault/key_files.py`",
        (
            "ledger/vault/key_store.py",
            "ledger/vault/key_files.py",
            "ledger/vault/duplicates/masks.py",
        ),
    ),
    Kept(
        ("`keys/`",),
        "keys of the log, of witnesses, countries and agencies",
        Concerns.NOBODY,
        "their replacement, by the operator ([keys](../key-loss.md))",
        "the operator",
        (
            "api/cli/keys.py",
            "api/continuity/lost_keys.py",
            "api/keys/country_keys.py",
            "api/node/setting_up/hand_over.py",
            "ledger/signing/country_key.py",
            "ledger/signing/keys.py",
        ),
    ),
    Kept(
        ("`history-mark` beside the keys", "`reserve/`", "`practice`"),
        "how far this database had come; space for a full disk; the mark of a practice ledger",
        Concerns.NOBODY,
        "overwritten",
        "the same code",
        (
            "ledger/replication/history_mark.py",
            "ledger/store/disk.py",
            "api/runtime/practice_directory.py",
        ),
    ),
    Kept(
        ("`postgresql/`",),
        "the embedded PostgreSQL: the tables above, and its write-ahead log",
        Concerns.VICTIM,
        "as the tables; deleted rows stay in pages and in the write-ahead log for a while, sealed",
        "PostgreSQL",
        ("ledger/store/embedded.py",),
    ),
    Kept(
        ("`unsent/`",),
        "actions that a command signed and whose outcome it does not know, **in the clear**",
        Concerns.VICTIM,
        "the node's answer, which the next command asks for; *nothing ends one whose node never"
        " answers*: the agency removes the file",
        "`api/cli/steps/unsent.py`; the agency",
        ("api/cli/steps/unsent.py",),
    ),
    Kept(
        ("`decisions/`",),
        "signed decisions of the ledger node, without fields",
        Concerns.CASE,
        "the agency removes them when it needs the proof no longer",
        "the agency",
        ("api/cli/steps/kept_decisions.py",),
    ),
    Kept(
        ("the journal and the error file of an import, and `imports/`",),
        "numbers of rows and rules; no value of the input",
        Concerns.NOBODY,
        "the operator removes them, **with the input, which is in the clear**, when the import is"
        " checked",
        "the operator",
        ("api/importing/journal.py", "api/importing/error_file.py"),
    ),
    Kept(
        ("files that a person asked for: documents, the person's file, exports of cases",),
        "fields and documents **in the clear**, for the one who read them",
        Concerns.VICTIM,
        "outside of the program: whoever took the copy destroys it; the access log has the copy",
        "the agency",
        (
            "api/cli/documents.py",
            "api/cli/personal.py",
            "api/client/documents.py",
            "api/importing/htcds_writer.py",
            "api/paper/subject_access/archive.py",
        ),
    ),
    Kept(
        ("records that an analyst exported",),
        "values of lists on each person under a **pseudonym of that release**, no text and no day",
        Concerns.VICTIM,
        "outside of the program: the analyst destroys them when the counts are published; the"
        " access log has each export",
        "the analyst",
        ("projections/statistics/record_files.py",),
    ),
    Kept(
        ("exports of the ledger, columns, reports, statistics, views of analysts",),
        "fields at `ledger` level, digests, counts",
        Concerns.CASE,
        "outside of the program: the receiver decides",
        "the receiver",
        (
            "api/cli/log.py",
            "api/cli/reports.py",
            "ledger/export/static_export.py",
            "projections/columnar/manifest.py",
            "projections/columnar/parquet_writer.py",
            "projections/statistics/joint_tables.py",
            "projections/statistics/publication_files.py",
            "projections/analysis/keeping.py",
        ),
    ),
    Kept(
        ("drafts of notifications of a breach",),
        "counts, countries, keys; no case and no person",
        Concerns.OFFICIAL,
        "outside of the program: the agency keeps it with the notification",
        "the agency",
        ("api/cli/breach.py",),
    ),
    Kept(
        ("temporary directories of exports and analyses",),
        "fields at `ledger` level",
        Concerns.CASE,
        "the end of the command",
        "the same code",
        (
            "projections/columnar/cases.py",
            "projections/columnar/obligations.py",
            "projections/columnar/proof.py",
            "projections/analysis/sql.py",
            "projections/analysis/view_run.py",
        ),
    ),
    Kept(
        ("the copy of a backup and of keys that a drill opens, and the report on the last drill",),
        "all tables, and the keys that open the vaults; the report has counts alone",
        Concerns.VICTIM,
        "the end of the drill; the report, the next drill",
        "`api/cli/steps/backup_drill.py`, `api/cli/steps/restored_server.py`",
        ("api/cli/steps/backup_drill.py", "api/cli/steps/restored_server.py"),
    ),
    Kept(
        ("texts of protocols, statements of nodes, submissions, catalogues of languages",),
        "acts on the protocol, and texts of pages",
        Concerns.NOBODY,
        "outside of the program",
        "the operator",
        (
            "api/cli/joining.py",
            "api/cli/nodes.py",
            "api/cli/steps/signed_acts.py",
            "api/cli/submissions.py",
            "api/paper/subject_access/catalogues.py",
        ),
    ),
)

ELSEWHERE = (
    Kept(
        ("the log of a node (standard output)",),
        "method, route pattern, status and time of each request; steps of jobs; parties and"
        " agencies. No path, no query, no value, no address",
        Concerns.NOBODY,
        "the operator's service manager: set 90 days at most, for example `MaxRetentionSec=90day`"
        " of journald",
        "the operator",
    ),
    Kept(
        ("the log of a proxy in front",),
        "addresses of the network and paths with ids of cases",
        Concerns.OFFICIAL,
        "the operator: 14 days are enough for an attack, and ids need not be logged",
        "the operator",
    ),
    Kept(
        ("backups of the database",),
        "all tables above; the vaults sealed",
        Concerns.VICTIM,
        "the operator: as short as a restore allows. An erased person's rows stay in them and open"
        " no more, because the key is in no backup of the database",
        "the operator ([backup](../operations.md#backup-and-restore))",
    ),
    Kept(
        ("copies of the key directory",),
        "keys, those of persons among them",
        Concerns.VICTIM,
        "*no older state* of `persons/` is kept: an old copy undoes erasures",
        "the operator",
    ),
    Kept(
        ("the browser of an agency's member",),
        "the member's key, drafts of actions sealed under it, and the pages that are open",
        Concerns.VICTIM,
        "signing out removes drafts and keys that are not kept; a draft is removed once it is"
        " recorded ([pages](../web.md))",
        "the browser's own code, `api/web/static/store.js`",
    ),
    Kept(
        ("paper, and files that were handed to the person",),
        "what they show",
        Concerns.VICTIM,
        "outside of the program",
        "the agency; the person",
    ),
)
