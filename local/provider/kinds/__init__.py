"""The table of AWS resource types, and what follows from it."""
