"""Tables that a fork leaves to parent and child, to be copied by who writes first.

spec       what a design file says
shared     sharing a table at fork, taking one of one's own, leaving one
accounts   who counts the pages of a shared table: its owner, or each process
"""
