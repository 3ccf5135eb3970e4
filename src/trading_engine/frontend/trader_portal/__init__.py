"""The Trader Portal: a page of plain ES modules on the public API, and the small server that hands it out."""
