#!/bin/sh
# Render the base and each overlay into rendered/, which is what is reviewed and tested:
#   sh serving/kubernetes/render.sh [FOLDER]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-$here/rendered}
mkdir -p "$target"
for folder in "$here"/base "$here"/overlays/*; do
    name=$(basename "$folder")
    {
        echo "# Rendered by render.sh from ${folder#"$here"/}; change that, not this."
        kubectl kustomize "$folder"
    } >"$target/$name.yaml"
done
