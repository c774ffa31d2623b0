"""Torch code: bodies, the video VAE, the ISA-DiT, training. Knows records, never folders."""
