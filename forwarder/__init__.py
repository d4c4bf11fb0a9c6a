"""Forwards OpenLineage events from the lineage log (S3) to Marquez, in order; one forwarder at a time."""
