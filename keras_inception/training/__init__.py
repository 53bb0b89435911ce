"""Training: from images and a recipe to a finished run, on one device or many hosts."""
