"""The operator's command line: `python -m orchestrator`. It is never deployed.

`commands/` has one file for each group of commands: options in, one use case called, its result printed. The use cases
stand in packages beside it. `output.py` is the only way in which anything is printed, and says what exit codes mean.
"""
