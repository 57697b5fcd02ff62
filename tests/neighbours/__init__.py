"""Other systems, each written from the published documents in a language of its own."""
