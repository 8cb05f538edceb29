"""The node's application with an empty endpoint beside, for :mod:`benchmarks.http` to serve.

python -m benchmarks.http_app uvloop | asyncio
"""

import os
import sys
from functools import partial

import uvicorn
from fastapi import FastAPI

from api.client.schemas import Health
from api.http import permissions
from api.http.access import TheCaller
from api.http.middleware import Contained
from api.processes.app import create_app
from api.processes.server import give_way_soon, listen, log_as_json, prepare, server, work
from api.processes.supervisor import beside, leave_when_told
from api.runtime.settings import Settings

cores = {int(core) for core in os.environ.get("BENCHMARK_CORES", "").split(",") if core}
if cores:
    os.sched_setaffinity(0, cores)
log_as_json()
prepare()
settings = Settings()
assert settings.database_url is not None
conninfo = settings.database_url.get_secret_value()
# As a node is served: its work is done by a process beside, on the same cores here.
node_app: FastAPI = create_app(settings, conninfo, works=__name__ != "__main__")


@node_app.get("/benchmark/empty", response_model=Health)
async def empty(_: TheCaller) -> Health:
    """Answer a request that is authenticated behind the same middleware, and do nothing else."""
    return Health(status="alive", version="")


# Whoever may read cases may ask for it.
permissions.AUDIENCE_OF = {  # type: ignore[misc]
    **permissions.AUDIENCE_OF,
    "GET /benchmark/empty": permissions.AUDIENCE_OF["GET /v1/cases/{case_id}"],
}
# Found first, as the routes of cases are: a long list of routes would be no limit to compare with.
routes = node_app.router.routes
routes.insert(0, routes.pop())
application = Contained(node_app)

if __name__ == "__main__":
    leave_when_told()
    give_way_soon()
    with beside("work", partial(work, settings, conninfo)):
        running: uvicorn.Server = server(node_app, settings)
        running.config.loop = sys.argv[1]
        running.run(sockets=[listen(settings)])
