#!/bin/sh
# demo.sh - one gigabyte through 64 MiB, in build/demo; `make demo` has built everything before.
set -eu
top=$PWD
PATH=$top/${ROOT:-build}:$top/${ROOT:-build}/bench:$PATH
mkdir -p "${ROOT:-build}/demo"
cp pipelines/rechunk-to-series.yaml "${ROOT:-build}/demo"
cd "${ROOT:-build}/demo"
rm -rf by-point.zarr tiles.zarr other.zarr

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m')
else
    bold='' dim='' plain=''
fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; "$@"; }

say "A gigabyte that looks like ERA5: 240 hourly maps of the world, one chunk each"
if [ ! -f era5.zarr/.zattrs ]; then     # written last
    rm -rf era5.zarr
    show generate era5.zarr --shape 240,721,1440 --chunks 1,721,1440
fi
show sluice info era5.zarr

say "A pipeline: the same values as time series, inside 64 MiB"
sed -n '/^params/,$p' rechunk-to-series.yaml
set -- rechunk-to-series.yaml --set input=era5.zarr --set output=by-point.zarr --set memory=64MiB

say "What it will do"
show sluice plan "$@"
say "Do it"
show sluice run "$@"
say "Is every value the same?"
show sluice verify era5.zarr by-point.zarr

demo=${ROOT:-build}/demo
say "All of this is in $demo. What to try next, from here"
cat <<TEXT
./sluice rechunk $demo/era5.zarr $demo/tiles.zarr --chunks time=all,latitude=32,longitude=32 --memory 256MiB
./sluice verify $demo/era5.zarr $demo/tiles.zarr
./sluice plan pipelines/rechunk-to-series.yaml --set input=$demo/era5.zarr --set output=$demo/other.zarr
./sluice info $demo/tiles.zarr
./sluice help
make test
TEXT
