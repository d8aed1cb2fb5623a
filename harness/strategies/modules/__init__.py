"""What strategies put around or in place of a model: it imports torch, and is itself imported only while wrapping."""
