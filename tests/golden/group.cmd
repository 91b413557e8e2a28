# a group is not an array, but it knows which it holds, and info lists them
rechunk group.zarr out.zarr --chunks time=all
info group.zarr
info folder
digest folder
info group.zarr/t2n
info group.zarr/precipitation
info folder/t2n
