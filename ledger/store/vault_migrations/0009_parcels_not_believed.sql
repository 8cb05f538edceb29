-- The readiness check asks for these parcels every two seconds.

CREATE INDEX parcels_not_believed ON {schema}.parcels_sent (settled_at)
    WHERE state = 'not_believed';
