"""What shows an operator that a deployed stack works: a rehearsal of a switch, and the doctor."""
