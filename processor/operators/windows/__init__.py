"""Windows: their kinds, and the steps that keep a value for each key and window."""
