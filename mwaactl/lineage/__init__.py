"""The operator's view of the lineage log: its status, and posting it again."""
