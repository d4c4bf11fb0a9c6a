"""The intake: producers of lineage besides Airflow write to the lineage log by HTTP."""
