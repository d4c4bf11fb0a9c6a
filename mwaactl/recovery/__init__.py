"""Recovery: the audit and its backfill, failover and fence."""
