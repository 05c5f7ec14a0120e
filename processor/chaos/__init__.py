"""What a chaos run does and how it is judged, as pure functions; `edges.chaos` carries it out."""
