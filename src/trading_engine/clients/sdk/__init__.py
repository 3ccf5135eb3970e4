"""The Python client of the venue: `Client` for ordinary programs, `AsyncClient` for asyncio."""
