"""The subcommands of `isa4d`, a file per group; `orchestration/cli.py` lists them."""
