"""What operators set while the venue runs: instruments, holidays, risk limits, feature flags and parameters of models.

`database.UtilitiesDatabase` is the way in, on SQLite, or on PostgreSQL with Redis beside it.
"""
