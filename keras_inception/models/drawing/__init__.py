"""Networks shown: their outline, their table, their figure."""
