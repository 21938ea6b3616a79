"""
Programs, and the stages that outlive them.

What a program says, and what was said on the command line (`choice`, `commandline`); its stage, opened and closed
(`opening`, `application`); what earlier programs recorded of it (`recorded`, `recordedscope`), and what is declared
now, compared with that (`lasting`). Test runs import nothing of it.
"""
