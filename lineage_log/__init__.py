"""What readers of the lineage log share: its keys and events, checkpoints, and delivery to Marquez."""
