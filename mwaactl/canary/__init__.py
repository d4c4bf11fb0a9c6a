"""The first DAGs on the other side: moved alone, watched, and given back if they do badly there."""
