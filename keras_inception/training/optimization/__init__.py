"""Change of the weights: optimizers, schedules, averages, fine-tuning, batch norm's statistics."""
