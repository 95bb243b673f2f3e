"""What a caller may submit: schema, validation and suppression check."""
