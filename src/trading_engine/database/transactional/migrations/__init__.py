"""Changes of the schema, oldest first, each in a file of its own under `versions`.

Rules: a migration works while the previous release is still running (add, fill, and only a release later remove); one that has been
released is never edited. A new one is written by hand and checked by the contract suite, which compares the migrated schema
with the models. On SQLite a change of an existing table goes through `op.batch_alter_table`.
"""
