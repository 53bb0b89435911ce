"""Images before training: inspected, split, counted, and what the user is told of them."""
