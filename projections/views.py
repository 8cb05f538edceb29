"""Every view that there is."""

from collections.abc import Mapping

from projections.audit_trails import AuditTrails
from projections.case_views import CaseViews
from projections.obligation_views import ObligationViews
from projections.view import View

VIEWS: Mapping[str, type[View]] = {
    view.name: view for view in (CaseViews, AuditTrails, ObligationViews)
}
"""Every view by name."""
