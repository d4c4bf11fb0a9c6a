"""The lineage log from the operator's side: its status, and posting it again."""
