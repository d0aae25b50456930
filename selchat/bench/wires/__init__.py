"""The wire formats, as the load generators speak them."""
