"""Changes of the schema, oldest first; the rules are those of `trading_engine.database.transactional.migrations`."""
