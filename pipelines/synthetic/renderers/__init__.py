"""Ways to turn a scene into pixels and exact labels."""
