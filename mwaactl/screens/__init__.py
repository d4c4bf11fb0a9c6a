"""How results look in a terminal. Nothing here reads or changes the stack."""
