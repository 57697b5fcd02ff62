"""marketplace: catalogue, carts, orders and subscriptions."""
