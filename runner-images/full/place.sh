#!/bin/sh
# Places the tools that fetch.py has downloaded as they shall be in the image: place.sh DOWNLOADS ROOT
set -eu
downloads=$1
root=$2
mkdir -p "$root/opt" "$root/usr/local/bin"
for folder in "$downloads"/*/; do
  tool=$(basename "$folder")
  case "$tool" in
    '*') ;;
    # Packages of the vendor for this distribution. They need nothing that the image does not have.
    az | docker) dpkg-deb --extract "$folder"*.deb "$root" ;;
    buildx) install -D -m 755 "$folder"* "$root/usr/local/lib/docker/cli-plugins/docker-buildx" ;;
    pwsh)
      mv "$folder" "$root/opt/pwsh"
      chmod 755 "$root/opt/pwsh/pwsh"
      ln -s /opt/pwsh/pwsh "$root/usr/local/bin/pwsh"
      ;;
    gh | node)
      mv "$folder"*/ "$root/opt/$tool"
      for program in "$root/opt/$tool/bin/"*; do
        ln -s "/opt/$tool/bin/$(basename "$program")" "$root/usr/local/bin/"
      done
      ;;
    *)
      echo "place.sh: nobody has said where $tool belongs" >&2
      exit 1
      ;;
  esac
done
