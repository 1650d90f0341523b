"""Updates, traced and compiled, and the LightningModule that performs and evaluates them."""
