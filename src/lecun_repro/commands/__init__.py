"""One file per command that is no method of the trainer."""
