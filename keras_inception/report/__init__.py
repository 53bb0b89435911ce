"""Reports and pictures of a run: its report, what it got wrong, what augmentation does."""
