"""One self-contained page from results.json."""
