#!/bin/sh
# promote.sh FOLDER RELEASE NAMESPACE IMAGE TAG: brings a tag to gateways by a commit, and takes the commit back if the
# gateways refuse it. FOLDER has a kustomization.yaml with one image. Exit codes: those of `pluginrelease wait`.
set -eu
folder=$1 release=$2 namespace=$3 image=$4 tag=$5
timeout=${TIMEOUT:-10m} branch=${BRANCH:-main}

sed -E -i "s|^( *newTag: *)\"?[^ \"]+\"?|\1\"$tag\"|" "$folder/kustomization.yaml"
commit=
if git diff --quiet -- "$folder"; then
  echo "$folder already has $tag"
else
  git commit --quiet --message "$release $tag in $folder" -- "$folder"
  git push --quiet origin "HEAD:$branch"
  commit=$(git rev-parse HEAD)
fi

code=0
pluginrelease wait "$release" -n "$namespace" --image "$image:$tag" --timeout "$timeout" || code=$?
[ "$code" -ne 0 ] || exit 0

# the reason, for the log of the pipeline; a release that is not there has none
pluginrelease status "$release" -n "$namespace" || true
if [ "$code" -eq 1 ] && [ -n "$commit" ]; then
  # the gateways have what ran before again; now Git has it, too
  git fetch --quiet origin "$branch"
  git checkout --quiet --detach FETCH_HEAD
  git revert --no-edit "$commit"
  git push --quiet origin "HEAD:$branch"
fi
exit "$code"
