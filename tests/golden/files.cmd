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
check bom.yaml
check bom-good.yaml
check crlf.yaml
check cr.yaml
check crlf-good.yaml --emit
check utf16.yaml
