"""``python -m isoloss`` and the console script.

Worker processes import the main module again: this one costs them nothing, the command line would.
"""


def main() -> None:
    """Run the command line."""
    from isoloss.cli import main

    main()


if __name__ == "__main__":
    main()
