"""Amazon MWAA's own API and the life of its environments; `python -m local mwaa` serves it."""
