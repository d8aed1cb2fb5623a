"""Analyse: records in, tables and sentences out. Never imports torch; works on a machine without any device."""
