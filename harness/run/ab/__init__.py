"""Two versions of code or environment, alternated step by step in one session: `harness ab`."""
