# a report that cannot be written is said before anything is done
run good.yaml --report absent/report.json
run good.yaml --report .
run good.yaml --report in.zarr/.zarray/report.json
rechunk in.zarr out.zarr --report absent/report.json
plan good.yaml --report absent/report.json
check good.yaml --report absent/report.json
info out.zarr
