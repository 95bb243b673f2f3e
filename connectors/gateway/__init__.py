"""SMS and MMS through an HTTP gateway."""
