"""The measures of security that the program has, each with its code and a test that shows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure, and where it is."""

    says: str
    code: str
    test: str


MEASURES = (
    Measure(
        "Pseudonymisation: no personal field and no field of a case is in the ledger, which has"
        " salted digests of them",
        "ledger/signing/signed_action.py",
        "tests/ledger/test_signed_action.py",
    ),
    Measure(
        "Encryption of each field under a data key of the person (AES-256-GCM), which is sealed to"
        " the country's key (ML-KEM-768 with X25519)",
        "ledger/vault/field_encryption.py",
        "tests/attacks/test_asvs_cryptography.py",
    ),
    Measure(
        "Encryption between countries: parcels are sealed to the receiving country's key",
        "ledger/vault/sealed_parcels.py",
        "tests/ledger/test_mailbox.py",
    ),
    Measure(
        "Access by role, field group and legal basis, decided for each reading",
        "ledger/procedure/legal_basis.py",
        "tests/api/test_access_matrix.py",
    ),
    Measure(
        "Access log: each reading has an entry with its purpose before anything is opened; the"
        " ledger fixes the log each hour",
        "ledger/vault/access_log.py",
        "tests/ledger/test_access_log.py",
    ),
    Measure(
        "Second party for erasures, destructions and reviews of accesses in danger to life",
        "ledger/procedure/case_rules.py",
        "tests/attacks/test_api6_flows.py",
    ),
    Measure(
        "Integrity: signed actions in a transparency log that witnesses of the parties cosign",
        "ledger/publication/witness.py",
        "tests/ledger/test_mirror.py",
    ),
    Measure(
        "Availability: an acknowledged action survives the loss of processes and of power",
        "ledger/store/recorder.py",
        "tests/faults/test_killed_while_writing.py",
    ),
    Measure(
        "Erasure by destroying the person's key, so that backups open no more",
        "ledger/vault/data_keys.py",
        "tests/scenarios/test_erasure_and_backups.py",
    ),
    Measure(
        "Hostile files are read in a locked process, and may be examined for malware",
        "ledger/system/lockdown.py",
        "tests/attacks/test_hostile_files.py",
    ),
    Measure(
        "Logs, errors, metrics and addresses have nothing personal",
        "api/http/middleware.py",
        "tests/attacks/test_asvs_injection.py",
    ),
    Measure(
        "Regular tests of all of it against the list of OWASP",
        "docs/threat-model.md",
        "tests/attacks/test_api9_inventory.py",
    ),
)
