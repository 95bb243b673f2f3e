"""Sberbank's internet acquiring: payments."""
