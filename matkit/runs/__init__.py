"""What every run that writes needs: one at a time in a place, nothing lost, and going on later."""
