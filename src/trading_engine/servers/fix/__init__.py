"""The FIX gateway: FIX 4.4 and 4.2 in front of the native API."""
