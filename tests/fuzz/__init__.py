"""Mutated inputs for everything that reads a file: ``python -m tests.fuzz --minutes 10``.

:mod:`targets` lists the readers, each with a small valid input (:mod:`layouts`, :mod:`others`) and what it reads from
it. :mod:`mutations` damages the input, :mod:`worker` reads it in a process of its own, under limits. :mod:`verdict`
says whether what came of it is right. :mod:`campaign` runs many, reduces what fails, and keeps it.
"""
