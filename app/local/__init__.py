"""`postroom up`: the whole system on one machine, with embedded servers."""
