#!/bin/sh
# A coordinator in any language calls `danube`: see docs/coordinator.md.
set -eu

danube step run --name test -- make test
version=$(danube step run --name version --capture -- git describe --always)

if [ "${DANUBE_REF:-}" = main ]; then
    danube step run --name publish --secret TOKEN=deploy --timeout 600 -- ./publish "$version"
fi
danube artifact upload dist/app.tar.gz --name "app-$version.tar.gz"
