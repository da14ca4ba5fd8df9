"""Everything that knows Noxus: the wire's records, and the ``Agent`` port over HTTP."""
