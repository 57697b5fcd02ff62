"""The pages: cookies, forms, headers, texts and problems without services, and a real browser on a running system."""
