"""Tables: steps that make one of another's changes, keep a history, or forget after a while."""
