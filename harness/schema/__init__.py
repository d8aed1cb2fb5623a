"""The words: suite, trial, record, metrics, errors, registry. No torch, no pandas."""
