"""Column expressions: what of Polars' expressions a stream can use, and how they are evaluated."""
