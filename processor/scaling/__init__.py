"""The autoscaler at work, and how more or fewer nodes come about.

May touch `local`; decides nothing: that is `cluster`'s.
"""
