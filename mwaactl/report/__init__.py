"""A page about a window of time, for a change ticket or an auditor."""
