#!/bin/bash
# Every run that rules.toml asks for: bash results/run.sh [jobs]. Resumable: what lightning_logs has is not run again.
set -e
cd "$(dirname "$0")/.."
list() { local IFS=,; echo "[$*]"; }
reproduce() { python cli.py reproduce --jobs "$jobs" "$@"; }
jobs=${1:-1}

reproduce --configs "$(list configs/article/[1-5]_*.yaml)" --seeds 20
reproduce --configs "$(list configs/article/[67]_*.yaml)" --seeds 10
reproduce --configs configs/perturbed --seeds 20
reproduce --configs "$(list configs/article/[1-5]_*.yaml)" --seeds "[$(seq -s, 1338 1357)]" --vary_draw true # 1337's is the article's
reproduce --configs "$(list configs/1989/[126]_*.yaml)" --seeds 10 --data.holdout 1000 --out results/holdout # range x target
reproduce --configs configs/1989 --seeds 10
reproduce --configs configs/claims --seeds 10
reproduce --configs configs/claims_later --seeds 10
for row in 1_baseline 5_dropout_relu; do python benchmarks/plain_loop.py --row $row --seeds 10 --jobs "$jobs"; done
