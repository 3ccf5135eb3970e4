#!/bin/sh
# Make a certificate that signs itself, to try TLS with; where others are to trust it, get one from an authority.
#
#   scripts/make_certificate.sh venue.example.org                       # into var/tls
#   scripts/make_certificate.sh 192.0.2.7 /etc/trading-engine
#
# The names are the one given, localhost and 127.0.0.1. Nothing is overwritten. Needs openssl.
set -eu

name=${1:?the name or the address that clients connect to}
folder=${2:-var/tls}
certificate=$folder/tls.crt
key=$folder/tls.key

for file in "$certificate" "$key"; do
    if [ -e "$file" ]; then
        printf 'error: %s is there already\n' "$file" >&2
        exit 1
    fi
done
case $name in
    *:* | *[0-9].[0-9]*.[0-9]*.[0-9]*) kind=IP ;;
    *) kind=DNS ;;
esac
mkdir -p "$folder"
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$name" \
    -addext "subjectAltName=$kind:$name,DNS:localhost,IP:127.0.0.1" -keyout "$key" -out "$certificate" 2>/dev/null
chmod 644 "$certificate"
printf '%s and %s: good for a year. In the configuration:\n\n' "$certificate" "$key"
printf 'tes:\n  tls_certificate: %s\n  tls_key: %s\n\n' "$certificate" "$key"
printf 'Clients trust it with SSL_CERT_FILE=%s\n' "$certificate"
