"""Networks, and the heads that turn their ten outputs into a loss and a prediction."""
