"""Every view that there is."""

from collections.abc import Mapping

from projections.tables.audit_trail import AuditTrails
from projections.tables.case_view import CaseViews
from projections.tables.obligations import ObligationViews
from projections.tables.view import View

VIEWS: Mapping[str, type[View]] = {
    view.name: view for view in (CaseViews, AuditTrails, ObligationViews)
}
"""Every view by name."""
