"""A run: its identity, folder, record, checkpoint and end."""
