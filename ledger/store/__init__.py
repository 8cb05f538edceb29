"""The PostgreSQL store: events, vault schemas, migrations, and the embedded server."""
