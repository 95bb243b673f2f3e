"""Payments through Sberbank internet acquiring."""
