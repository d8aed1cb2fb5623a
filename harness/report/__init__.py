"""Report: what analysis found, as one HTML page and as tables of the terminal. Never imports torch, never prints."""
