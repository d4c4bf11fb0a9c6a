"""Amazon MWAA's API and the life cycle of its environments; `python -m local mwaa` serves it."""
