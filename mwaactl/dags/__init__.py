"""The DAG files: the operator's folder, and what the environments' buckets have of it."""
