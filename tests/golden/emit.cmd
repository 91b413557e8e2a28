# the resolved file, whether or not what it names is there
check absent-input.yaml --emit
check absent-input.yaml --emit --set year=1980 --memory 2GiB --json
check absent-input.yaml --emit --set yaer=1980
check absent-input.yaml
