"""What the traces benchmark sends, how it sends it, and whom it is compared with."""
