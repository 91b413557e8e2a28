# help
--version
help
help rechunk
help verify
help codec
help output.chunks
help compressor
help --memory
help shards
help --progress
help --shards
help --set
run --help
version
