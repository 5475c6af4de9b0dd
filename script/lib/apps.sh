# shellcheck shell=bash
# Deploys the example app and other manifests for script/cluster.
#
# shellcheck source=script/lib/images.sh
source "$(dirname "${BASH_SOURCE[0]}")/images.sh"

manifests=$project/test/cluster/manifests
variants=$manifests/variants
# Set by script/cluster.
: "${name:=}"

app() {
  local app=$1 replicas=1 otp=$system_otp variant=''
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      --otp) otp=${2:-}; shift 2 || usage_error "--otp needs 25, 27 or newest" ;;
      --variant) variant=${2:-none}; shift 2 || usage_error "--variant needs a name"; need_variant "$variant" ;;
      --replicas) replicas=${2:-}; shift 2 || usage_error "--replicas needs a number" ;;
      *) usage_error "unknown option: $1" ;;
    esac
  done
  [[ $app =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] || usage_error "invalid app name: $app. A name has lower-case letters, digits and -, and at most 40 characters"
  [[ $replicas =~ ^[0-9]{1,3}$ ]] || usage_error "--replicas needs a number, got: $replicas"
  suite_of "$otp" > /dev/null
  kubernetes=$(running_kubernetes)
  artifacts
  case $variant in
    erlang | distroless | ejabberd-debian | rabbitmq) image_of "$variant" ;;
    # These have the environment, volumes and ports of a product's chart or operator.
    couchdb | ejabberd | emqx | gleam | rabbitmq-chart | rabbitmq-operator | vernemq) image_of erlang ;;
    *) app_of "$otp" ;;
  esac
  need_running
  import_app_image
  step "$name: app $app ready ($replicas)" deploy "$app" "$replicas" "$variant"
}

need_variant() {
  [ -e "$variants/$1.yaml" ] || usage_error "no such variant: $1. Available: $(variant_names)"
}

variant_names() { basename -s .yaml "$variants"/*.yaml | paste -sd ' '; }

deploy() {
  local app=$1 variant=$3 manifest role cookie
  manifest=$(manifest_of "$variant")$'\n---\n'$(< "$manifests/app-resources.yaml")
  role=$(< "$manifests/role.yaml")
  cookie=$(as_admin get secret "$app-cookie" -o 'jsonpath={.data.cookie}' --ignore-not-found | base64 -d)
  manifest=${manifest//@NAME@/$app}
  manifest=${manifest//@REPLICAS@/$2}
  manifest=${manifest//@IMAGE@/$app_image}
  # Shell built-ins only: command lines are public, and the cookie is a secret.
  manifest=${manifest//@COOKIE@/${cookie:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}}
  # `dev` may read the cookie of every app, from a Secret or a ConfigMap. `up` has created the Role for `app`.
  if [ "$app" != app ]; then
    role=${role//k8s-connect\}/k8s-connect-$app\}}
    role=${role//\[secrets\]/[secrets, configmaps]}
    manifest+=$'\n---\n'${role//app-cookie/$app-cookie}
  fi
  apply_text "$manifest"
  as_admin rollout status "$(as_admin get statefulset,deployment "$app" --ignore-not-found -o name)" --timeout="$(stretched 120)s" || explain_app "$app"
}

# manifest_of [VARIANT]: prints the manifest of the app. A variant is a patch of it, or a complete manifest.
manifest_of() {
  local base=$manifests/app.yaml file=$variants/$1.yaml
  if [ -z "$1" ]; then
    cat "$base"
  elif grep -q '^kind:' "$file"; then
    cat "$file"
  else
    # kubectl requires a number for replicas, so the placeholder comes back after the patch.
    sed 's/@REPLICAS@/1/' "$base" | as_admin patch --local -f - --patch-file "$file" -o yaml | sed 's/^  replicas: 1$/  replicas: @REPLICAS@/'
  fi
}

apply() {
  local manifest
  [ -f "$1" ] || usage_error "no such file: $1"
  kubernetes=$(running_kubernetes)
  artifacts
  need_running
  import_app_image
  manifest=$(< "$1")
  step "$name: ${1##*/}" apply_text "${manifest//@IMAGE@/$app_image}"
}

apply_text() { as_admin apply -f - <<< "$1"; }

explain_app() {
  as_admin describe pods -l "app=$1"
  as_admin logs -l "app=$1" --prefix --tail=20
  return 1
}

# Imports the image if the app has changed since the cluster was started.
import_app_image() {
  [ -z "$(in_node ctr -n k8s.io images ls -q "name==$app_image")" ] || return 0
  step "$name: import image of the app" in_each_node ctr -n k8s.io images import "$app_archive"
}
