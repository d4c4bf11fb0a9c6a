"""When something went wrong: the audit and its backfill, failover and fence."""
