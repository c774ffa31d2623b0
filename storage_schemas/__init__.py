"""What lies on disk and what crosses folders: records, shards, stores. No torch, ray or dagster."""
