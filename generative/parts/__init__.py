"""What generators share: one corruption or path per field, schedules, steps and the backbone."""
