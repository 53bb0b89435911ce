"""Bytes as clients send them: walked and inflated before anything is made of them."""
