"""`python -m lecun_repro`: the same as the console script `lecun-repro`."""

from lecun_repro.cli import main

if __name__ == "__main__":
    main()
