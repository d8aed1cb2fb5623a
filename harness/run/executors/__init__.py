"""Executors: where a trial's processes are started. `local`: this machine, from a fork server."""
