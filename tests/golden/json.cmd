# refusals as JSON
rechunk in.zarr out.zarr --memory lots --json
run absent.yaml --json
run --json
run a.yaml --memroy --json
check empty.yaml --json
frobnicate --json
