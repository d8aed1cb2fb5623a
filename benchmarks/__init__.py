"""The harness measured: figures of its own, printed by `make bench-self`."""
