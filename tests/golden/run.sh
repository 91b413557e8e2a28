#!/bin/sh
# Golden tests, as `make` calls them: see run.py, which does the work. --update rewrites the answers.
here=$(dirname "$0")
case "${1:-}" in
--update|--refresh) shift; set -- --refresh "$@" ;;
esac
exec python3 "$here/run.py" ${SLUICE:+--sluice "$SLUICE"} "$@"
