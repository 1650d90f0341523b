"""`python cli.py fit --config configs/article/1_baseline.yaml`: the same as the console script `lecun-repro`."""

from lecun_repro.__main__ import main

if __name__ == "__main__":
    main()
