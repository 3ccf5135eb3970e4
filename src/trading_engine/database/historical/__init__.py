"""The historical database: trades, quotes and books as they were, for research, charts and replay."""
