"""The ownership parameter: reading and writing it, and what its timeline says."""
