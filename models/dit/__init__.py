"""The interspatial diffusion transformer."""
