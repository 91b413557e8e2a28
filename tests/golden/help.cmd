# help
--version
help
--help
help keys
help key
help run
help plan
help check
help info
help digest
help help
help doctor
help rechunk
help verify
help clean
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
