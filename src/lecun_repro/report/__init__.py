"""Tables, figures and verdicts from raw results."""
