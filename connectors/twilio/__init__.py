"""Twilio: SMS, MMS and WhatsApp."""
