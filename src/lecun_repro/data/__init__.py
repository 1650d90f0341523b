"""Digits: sources, draws from them, augmentations, image files, and the LightningDataModule that serves them."""
