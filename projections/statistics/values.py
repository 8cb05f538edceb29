"""Values of columns that stand for no category of a picklist."""

OTHER = "other"
NONE = "none"
SEVERAL = "several"
NOT_ASSESSED = "not_assessed"
"""The trafficking status of a case in which no action states one."""
MISSING = "-99"
"""CTDC's sign for what is not known."""
