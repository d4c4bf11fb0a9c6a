"""The checks before a switch: what they observe, and what each of them reports."""
