"""Where lineage goes on this machine: Marquez, the receiver in its place, or the double that tests use."""
