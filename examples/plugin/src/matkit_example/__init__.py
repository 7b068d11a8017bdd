"""Models for matkit."""
