"""A change of the stack without an interruption: the standby first, then a switch, then the rest."""
