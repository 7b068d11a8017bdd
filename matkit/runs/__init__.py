"""What every run that writes needs: one at a time in a place, and nothing lost on the way."""
