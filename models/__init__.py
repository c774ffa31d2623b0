"""Torch code: geometry, bodies, the video VAE, the ISA-DiT, training. Knows records, never folders."""
