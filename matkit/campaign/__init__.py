"""Long work on many items that may stop at any moment and goes on where it stopped."""
