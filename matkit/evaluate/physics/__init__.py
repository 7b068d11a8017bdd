"""What a potential does on physics instead of on labels."""
