-- Which cases were joined by a merge, only the acceptances tell: each names both cases. They are few among all events.

CREATE INDEX events_merge_accepted ON ledger.events (notification_id) WHERE topic = 'merge_accepted';
