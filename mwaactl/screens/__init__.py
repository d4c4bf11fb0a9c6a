"""How results look in a terminal. Nothing here reads or writes anything else."""
