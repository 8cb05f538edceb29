"""The steps and tables of commands. A command loads them when it runs, so its help is fast."""
