"""The table of AWS resource types, and the functions that apply it."""
