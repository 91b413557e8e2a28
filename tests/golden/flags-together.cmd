# flags that make no sense here, or not together
check --chunks in.zarr --emit
check --chunks in.zarr --scratch /tmp
check --chunks in.zarr --overwrite
check --chunks in.zarr --set year=1979
check --chunks in.zarr --report report.json
check good.yaml --emit --report report.json
rechunk in.zarr out.zarr --emit --dry-run
rechunk in.zarr out.zarr --emit --report report.json
rechunk in.zarr out.zarr --set year=1979
check good.yaml --progress fast
plan good.yaml --progress fast
info in.zarr --set year=1979
run good.yaml --compressor zstd
check good.yaml --target-chunks time=1
verify in.zarr in.zarr --max-workers 2
digest in.zarr --shard 3
