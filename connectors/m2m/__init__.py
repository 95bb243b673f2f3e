"""SMS to Russian numbers through MTS."""
