"""Members of agencies on pages, and the page where an invited person makes a key."""

from fastapi import APIRouter

from api.web.errors import PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)
