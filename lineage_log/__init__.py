"""What readers of the lineage log share: its keys and events, how far they have read, delivery to Marquez."""
