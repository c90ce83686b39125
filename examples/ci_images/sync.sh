#!/bin/sh
# What every pipeline runs: with a key it draws what has changed, without one it only looks.
# Pull requests from forks have no key, and must not get one.
set -eu
manifest="${1:-images.toml}"
if [ -z "${OPENAI_API_KEY:-}${GPTIMAGE_SANDBOX:-}" ]; then
    exec gptimage images sync "$manifest" --check
fi
gptimage images sync "$manifest" --budget "${IMAGES_BUDGET:-1.00/total}"
