"""The parent: reads a suite, plans its trials, has them executed, keeps every record. Never imports torch."""
