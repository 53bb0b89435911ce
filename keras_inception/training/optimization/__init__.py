"""How the weights change: optimizers, schedules, averages, fine-tuning, batch norm's statistics."""
