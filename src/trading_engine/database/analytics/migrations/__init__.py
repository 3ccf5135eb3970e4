"""Changes of the schema, oldest first, under the rules of the transactional database's migrations."""
