"""
Programs, and the stages that outlive them.

What a program says, and what was said on the command line (`choice`, `commandline`); its stage, opened and closed
(`opening`, `application`); what earlier programs recorded of it (`recorded`, `recordedscope`), and what is declared
now (`lasting`): held against that (`declaration`), and carried out (`steps`). Test runs import nothing of it.
"""
