#!/bin/sh
# A certificate authority for the studio, and certificates for its servers, in the folder $1:
#   sh certificates.sh /certificates database azurite
# ca.pem is what the ComfyUIs trust; whoever has ca.key can play every server. Made once.
set -eu
folder=$1; shift
umask 077
mkdir -p "$folder"; cd "$folder"
[ -e ca.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=MAI studio" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
  -keyout ca.key -out ca.pem 2>/dev/null
for name in "$@"; do
  [ -e "$name.pem" ] && continue
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$name" > "$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 \
    -extfile "$name.ext" -out "$name.pem" 2>/dev/null
  rm "$name.csr" "$name.ext"
done
chmod 755 .
chmod 644 ./*.pem
