# files that are no pipelines
check deep.yaml
check large.yaml
check nul.yaml
check latin1.yaml
check many.yaml
check tab.yaml
check empty.yaml
check absent.yaml
check in.zarr
check -
