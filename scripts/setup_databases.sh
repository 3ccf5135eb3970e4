#!/bin/sh
# Create the databases of a configuration, or migrate them to this release. Safe to run again; nothing is removed.
#
#   scripts/setup_databases.sh                                    # as in config/dev.yaml
#   scripts/setup_databases.sh --config config/prod.yaml
#   scripts/setup_databases.sh --data-dir /srv/venue
#
# Paths are relative to the project's folder. The servers do the same when they start; this is for setting up beforehand.
set -eu

cd "$(dirname "$0")/.."
scripts/setup_environment.sh base
exec .venv/bin/python main.py databases setup "$@"
