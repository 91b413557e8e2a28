# a report that cannot be written is said before anything is done
run good.yaml --report absent/report.json
run good.yaml --report .
run good.yaml --report in.zarr/.zarray/report.json
rechunk in.zarr out.zarr --report absent/report.json
plan good.yaml --report absent/report.json
check good.yaml --report absent/report.json
info out.zarr
run good.yaml --report good.yaml
check good.yaml --report ./good.yaml
run good.yaml --report in.zarr/.zarray
run good.yaml --report in.zarr/new.json
rechunk in.zarr out.zarr --report in.zarr/../in.zarr/.zattrs
rechunk in.zarr out.zarr --report out.zarr
rechunk in.zarr out.zarr/ --dry-run --report ./out.zarr
rechunk in.zarr out.zarr --report out.zarr.sluice-partial
rechunk in.zarr scalar.zarr --overwrite --report scalar.zarr/zarr.json
plan good.yaml --report ''
plan good.yaml --report new.json/
