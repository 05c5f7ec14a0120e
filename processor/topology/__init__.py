"""The user's dataflow as pure data, and the plan made from it."""
