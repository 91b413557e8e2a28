#!/bin/sh
# demo.sh - one gigabyte through 64 MiB, in build/demo; `make demo` has built everything before.
set -eu
ROOT=${ROOT:-build}
here=$ROOT/demo
mkdir -p "$here"
rm -rf "$here/by-point.zarr"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }
[ -t 1 ] && [ -z "${NO_COLOR-}" ] || { say() { printf '\n%s\n' "$*"; }; show() { printf '$ %s\n' "$*"; "$@"; }; }

say "A gigabyte that looks like ERA5: 240 hourly maps, one chunk each"
if [ ! -f "$here/era5.zarr/.zarray" ]; then
    rm -rf "$here/era5.zarr"
    show "$ROOT/bench/generate" "$here/era5.zarr" --shape 240,721,1440 --chunks 1,721,1440
fi
show ./sluice info "$here/era5.zarr"

say "The pipeline: the same values as time series, inside 64 MiB"
grep -v '^#' pipelines/rechunk-to-series.yaml
set -- pipelines/rechunk-to-series.yaml --set "input=$PWD/$here/era5.zarr" --set "output=$PWD/$here/by-point.zarr" \
    --set memory=64MiB
say "What will happen"
show ./sluice plan "$@"
say "Run it"
show ./sluice run "$@"
say "Is every value the same?"
show ./sluice verify "$here/era5.zarr" "$here/by-point.zarr"

say "Next"
cat <<TEXT
  ./sluice run ... --set memory=256MiB        more memory, bigger pieces (rm -r $here/by-point.zarr first)
  ./sluice rechunk IN OUT --chunks time=all,latitude=32,longitude=32 --memory 1GiB
  ./sluice help                               commands, and every key of a pipeline
  make test                                   how we know that it is right
TEXT
