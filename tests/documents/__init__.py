"""Other people's tools, and what they say of the OpenAPI documents."""
