"""The child: what runs in the processes that train. The only room where torch is loaded."""
