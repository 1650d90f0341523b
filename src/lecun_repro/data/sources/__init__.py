"""Where digits come from: one file per source, whose name is the source's own."""
