# flags and the file that says the same
rechunk in.zarr out.zarr --emit
rechunk in.zarr out.zarr --emit --chunks time=all,lat=32,lon=-1 --memory 1GiB --threads 4 --io threads
rechunk in.zarr out.zarr --emit --chunks -1,32,keep --codec blosc:zstd:5:bitshuffle --format zarr3 --overwrite
rechunk in.zarr out.zarr --emit --chunks 8MiB --memory 80% --scratch /scratch
rechunk in.zarr out.zarr --emit --chunks auto --memory 1.5GiB
rechunk in.zarr out.zarr --emit --chunks ''
rechunk in.zarr out.zarr --emit --chunks y=012,no=8MiB,on=keep
rechunk 'a b.zarr' 'out $x.zarr' --emit --json
rechunk -- in.zarr -out.zarr --emit
rechunk --emit -- in.zarr -out.zarr
