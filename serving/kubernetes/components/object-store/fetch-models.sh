#!/bin/sh
# Copy the newest versions of each model from an object store, each to appear at once and whole.
#
#   SOURCE=store:BUCKET/models sh fetch-models.sh FOLDER [SECONDS]
#
# SOURCE holds NAME/VERSION/..., FOLDER will. With SECONDS it looks again and again. A version
# counts from its saved_model.pb on, so upload that last:
#   rclone copy --exclude saved_model.pb models/photos/2 store:BUCKET/models/photos/2
#   rclone copy models/photos/2 store:BUCKET/models/photos/2
# KEEP (3) says how many versions of a model are fetched; models.config must name no older one. None
# is removed.
set -eu
folder=$1
every=${2:-}

if [ -n "$every" ]; then
    while sleep "$every"; do
        sh "$0" "$folder" || echo "Not fetched; again in $every s" >&2
    done
fi

# Into a file, since a pipe would hide that the store did not answer.
rclone lsf --recursive --files-only --include '/*/*/saved_model.pb' "$SOURCE" >"$folder/.found"

# NAME/VERSION, of each model the newest KEEP.
sed -n 's|^\([^/]*/[0-9][0-9]*\)/saved_model\.pb$|\1|p' "$folder/.found" |
    sort -t/ -k1,1 -k2,2nr |
    awk -F/ -v keep="${KEEP:-3}" '{ if (++count[$1] <= keep) print }' >"$folder/.newest"

while read -r version; do
    [ -e "$folder/$version" ] && continue
    # Beside its place, on the same disk, under a name that is no model's: then one rename.
    rclone copy "$SOURCE/$version" "$folder/.incoming/$version"
    mkdir -p "$folder/${version%/*}"
    mv "$folder/.incoming/$version" "$folder/$version"
    echo "Fetched $version"
done <"$folder/.newest"
