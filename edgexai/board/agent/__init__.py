"""What runs on the board: standard library, NumPy, and the board's own runtime; one zipapp in the bundle.

Python 3.10. Nothing here, or imported from here, may need torch, SciPy, pydantic or any other package of the
workstation: ``agent_zip.py`` refuses to build such an agent.
"""

VERSION = "0.1.0"
"""Of the agent; in the manifest, in every answer, and what ``agent.pyz --version`` prints."""
