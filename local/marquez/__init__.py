"""The lineage back ends on this machine: Marquez, the receiver in its place, or the tests' double."""
