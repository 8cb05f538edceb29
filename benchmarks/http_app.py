"""The node's application with an empty endpoint beside, for :mod:`benchmarks.http` to serve.

python -m benchmarks.http_app uvloop | asyncio
"""

import os
import sys

import uvicorn
from fastapi import FastAPI

from api.access import TheCaller
from api.app import create_app
from api.documents import Health
from api.middleware import Contained
from api.server import listen, log_as_json, server
from api.settings import Settings
from ledger.collector import SERVING, collect_seldom
from ledger.vocabulary import build_models

cores = {int(core) for core in os.environ.get("BENCHMARK_CORES", "").split(",") if core}
if cores:
    os.sched_setaffinity(0, cores)
log_as_json()
build_models()
collect_seldom(SERVING)
settings = Settings()
assert settings.database_url is not None
node_app: FastAPI = create_app(settings, settings.database_url.get_secret_value())


@node_app.get("/benchmark/empty", response_model=Health)
async def empty(_: TheCaller) -> Health:
    """Authenticated as every request is, behind the same middleware, and nothing else."""
    return Health(status="alive")


# Found first, as the routes of cases are: a long list of routes would be no limit to compare with.
routes = node_app.router.routes
routes.insert(0, routes.pop())
application = Contained(node_app)

if __name__ == "__main__":
    running: uvicorn.Server = server(node_app, settings)
    running.config.loop = sys.argv[1]
    running.run(sockets=[listen(settings)])
