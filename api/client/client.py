"""A typed client of a node: signs and appends an agency's actions, and reads its cases."""

from api.client.accountability import AccountabilityClient
from api.client.between_nodes import NodesClient
from api.client.cases import CasesClient
from api.client.documents import DocumentsClient
from api.client.drafts import DraftsClient
from api.client.events import EventsClient
from api.client.finding import FindingClient
from api.client.members import MembersClient
from api.client.personal import PersonalDataClient
from api.client.protocol import ProtocolClient
from api.client.statistics import StatisticsClient


class LedgerClient(
    PersonalDataClient,
    DocumentsClient,
    DraftsClient,
    FindingClient,
    StatisticsClient,
    CasesClient,
    AccountabilityClient,
    EventsClient,
    MembersClient,
    ProtocolClient,
    NodesClient,
):
    """One agency's client of one node. Every request carries an assertion of its own.

    A request that gets no answer is sent again, for up to ``patience`` seconds. An action keeps
    its id, so that it is recorded once.
    """
