"""What happens to records between source and sink: batch in, batch out, no I/O."""
