"""The checks before a switch: what they look at, and what each of them says."""
