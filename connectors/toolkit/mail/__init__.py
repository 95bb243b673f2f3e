"""Mail as a text: made for what is sent, and read from what comes in. No connector, but what
several share.
"""
