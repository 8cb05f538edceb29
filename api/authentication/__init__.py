"""Authentication: who asks, by an assertion or a session, and what the asker may see."""
