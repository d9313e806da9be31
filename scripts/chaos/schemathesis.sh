#!/usr/bin/env bash
# Tries a server against its own OpenAPI document with schemathesis: no 5xx, and every answer as the document says.
# Needs `pip install schemathesis==4.32.5`; SCHEMATHESIS names its command (a whole path) where it is not on the path. EXAMPLES: requests per operation; WHO: as whom.
set -euo pipefail
cd "$(dirname "$0")/../.."
tool=${SCHEMATHESIS:-schemathesis}
if ! command -v "$tool" >/dev/null; then
  echo "skipped: schemathesis is not installed (pip install schemathesis==4.32.5, or SCHEMATHESIS=its command)"
  exit 0
fi
main=${1:-.cache/build/src/cli/main.js}
folder=$(mktemp -d)
server=
finish() {
  if [[ -n $server ]]; then kill -9 "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT

cat >"$folder/serve.yaml" <<YAML
model: { path: $PWD/assets/model }
data: { format: jsonl, template: plain }
methods: [{ use: fedit }]
rounds: { count: 1 }
serve: { clients: [aurora, birch], port: 0 }
YAML
node "$main" serve "$folder/serve.yaml" --out "$folder/out" 2>"$folder/log" &
server=$!
for _ in $(seq 600); do
  if grep -q '^serving on' "$folder/log"; then break; fi
  sleep 0.1
done
url=$(sed -n 's/^serving on //p' "$folder/log")
[[ -n $url ]] || { cat "$folder/log"; exit 1; }

# Once as a stranger, once as a client, once as the admin: what one may not do, another may.
key=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')
token=$(cat "$folder/out/server/tokens/aurora.token")
admin=$(cat "$folder/out/server/operators/admin.token")
described=$(curl -sf "$url/v1/run")
field() { node -e 'console.log(JSON.parse(process.argv[1])[process.argv[2]])' "$described" "$1"; }
curl -sf "$url/v1/join" -H "authorization: Bearer $token" -H 'content-type: application/json' \
  -d "{\"protocol\":$(field protocol),\"fedlora\":\"$(field fedlora)\",\"run\":\"$(field run)\",\"key\":\"$key\"}" >/dev/null

checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance
status=0
attempt() {
  (cd "$folder" && "$tool" run "$url/openapi.json" --url "$url" --checks "$checks" --phases examples,coverage,fuzzing --seed 1 \
    --max-examples "${EXAMPLES:-20}" --request-timeout 40 --suppress-health-check all --no-color "$@") || status=1
}
for who in ${WHO:-stranger client admin}; do
  echo "── as $who"
  secret=()
  last=()
  if [[ $who = client ]]; then secret=(-H "Authorization: Bearer $key"); last=(/v1/leave); fi
  if [[ $who = admin ]]; then secret=(-H "Authorization: Bearer $admin"); last=('/v1/admin/operators/{role}/token'); fi
  # Stopping the run would end the server; what ends the key or token that is used here comes last.
  attempt --exclude-path /v1/admin/stop "${last[@]/#/--exclude-path=}" "${secret[@]}"
  if [[ ${#last[@]} -gt 0 ]]; then attempt --include-path "${last[0]}" "${secret[@]}"; fi
done
kill -0 "$server" || { echo 'the server has ended'; cat "$folder/log"; exit 1; }
if grep -n '^server:' "$folder/log"; then status=1; fi
exit $status
