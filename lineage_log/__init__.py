"""What the writers and readers of the lineage log share: its keys and events, and their way to Marquez."""
