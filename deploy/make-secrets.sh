#!/bin/sh
# Makes deploy/secrets with a random value for each secret that is not there yet; keeps those that are.
# The folder is closed to others. The files in it can be read by all, because Compose mounts them as they
# are and each image runs as another user.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p "$folder"
chmod 700 "$folder"
for name in postgres_password demur_secret webhook_key grafana_password; do
    file=$folder/$name
    if [ ! -s "$file" ]; then
        head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$file.part"
        chmod 444 "$file.part"
        mv "$file.part" "$file"
        echo "made $file"
    fi
done
