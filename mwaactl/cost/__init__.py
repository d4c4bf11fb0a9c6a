"""What a stack costs and how long a change of it takes, from the resources that the program registers."""
