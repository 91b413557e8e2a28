# wrong flags
run
run a.yaml b.yaml
run a.yaml --memroy 1GiB
run a.yaml --emit
run a.yaml --memory
run a.yaml --memory --json
run a.yaml --overwrite=yes
run a.yaml --memory 1GiB --json --memory=2GiB
run a.yaml --dry-run -n
run a.yaml --overwrite --overwrite
run a.yaml --version
rechunk in.zarr out.zarr --chunks 5,5,5 --chunks 6,6,6
rechunk in.zarr out.zarr --version
rechunk in.zarr out.zarr --memory 99999999999999999999TiB
rechunk in.zarr out.zarr --memory 9999999tib
run a.yaml --set year
run a.yaml --set year=1 --set year=2
rechunk in.zarr out.zarr --progress fast
rechunk in.zarr
rechunk in.zarr out.zarr --memory=lots
rechunk in.zarr out.zarr --threads=0
rechunk in.zarr out.zarr --chunks time=all,lat=0
rechunk in.zarr out.zarr --chunks 'time=all, lat=3'
rechunk in.zarr out.zarr --chunks =3
rechunk in.zarr out.zarr --chunks time=
rechunk in.zarr out.zarr --chunks 32,32,
rechunk in.zarr out.zarr --chunks 'time=all,'
rechunk in.zarr out.zarr --chunks 'time = all , lat = x'
rechunk in.zarr out.zarr --chunks 32,32,0
rechunk in.zarr out.zarr --chunks 99999999999999999999,1,1
rechunk in.zarr out.zarr --codec lzma
rechunk in.zarr out.zarr --codec deflate
rechunk in.zarr out.zarr --codec deflate:5
rechunk in.zarr out.zarr --scratch s3://bucket/scratch
rechunk in.zarr out.zarr --format zarr4
rechunk in.zarr out.zarr --shards 32
rechunk in.zarr out.zarr --arrays a,b
rechunk in.zarr out.zarr --plan fast
rechunk in.zarr s3://bucket/out.zarr
plan a.yaml --svg plan.svg
check
check a.yaml --chunks in.zarr
doctor
frobnicate
rnu a.yaml
pipeline.yaml
help nothing-like-it
help --progres
help recunk
rechunk in.zarr out.zarr --chunks time:all
rechunk in.zarr out.zarr --chunks '{time: all, latitude : 16}'
rechunk in.zarr out.zarr --chunks 'time=all latitude=16'
rechunk in.zarr out.zarr --chunks '[100 60 40]'
rechunk in.zarr out.zarr --chunks time=all latitude=16
rechunk in.zarr out.zarr time=all
run good.yaml memory=1GiB
run good.yaml year=1979
rechunk in.zarr out.zarr --memory 64
verify in.zarr in.zarr --memory 64
rechunk in.zarr out.zarr --memory 64KiB
rechunk in.zarr out.zarr --chunks [100,60,40]
rechunk in.zarr out.zarr --chunks '(100, 60, 40)'
rechunk in.zarr out.zarr --codec none:3
rechunk in.zarr out.zarr --codec none+zstd
rechunk in.zarr out.zarr --format v3
rechunk in.zarr out.zarr --quiet
--memory 1GiB run a.yaml
