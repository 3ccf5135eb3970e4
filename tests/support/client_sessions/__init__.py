"""Sessions of clients of other venues: each a program of its own, run in the client's environment (`scripts/client_environments.py`).

A session is told the address and the keys in its environment and writes what it saw, as JSON, in one line. What it should have seen is
for the test to say. Nothing of this project is there to import.
"""
