"""The HTTP application of a witness that runs alone: its submission and monitoring prefix."""

from fastapi import FastAPI, Request, Response

from api.client.schemas import Health
from api.http import error_handlers
from api.http.middleware import AnswerHeaders, BodyLimit, RequestLog
from api.http.routes.log import OriginHash, answer, witnessed
from api.runtime.rate_limit import Rate
from ledger.publication.witness import Witness
from ledger.system.version import program_version

MAX_BODY = 128 * 1024


def create_witness_app(witness: Witness, submissions_per_minute: int) -> FastAPI:
    """Make a witness at ``/add-checkpoint`` and ``/{origin hash}/checkpoint``.

    Both are as C2SP tlog-witness specifies. An address may submit so many times in a minute.
    """
    submissions = Rate(submissions_per_minute, "submissions")
    app = FastAPI(title="Witness", openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        return await answer(witness, request, submissions)

    @app.get("/{origin_hash}/checkpoint")
    def get_witnessed(origin_hash: OriginHash) -> Response:
        return witnessed(witness, origin_hash)

    @app.get("/health")
    async def health() -> Health:
        return Health(status="alive", version=program_version())

    error_handlers.install(app)
    app.add_middleware(BodyLimit, limit=MAX_BODY)
    app.add_middleware(AnswerHeaders)
    app.add_middleware(RequestLog)
    return app
