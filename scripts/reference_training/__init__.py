"""Training the reference models on whatever machine is at hand: two CPU cores or a GPU lent for minutes."""
