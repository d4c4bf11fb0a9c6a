"""The stack's settings: their types, rules and defaults."""
