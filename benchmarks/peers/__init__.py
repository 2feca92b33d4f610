"""Segue beside its peers: the same tasks, on the same machine, in turns. `make benchmark-peers`.

What is measured, and how each peer is set, is in docs/peers.md.

    catalogue   who they are, and how each is started
    install     their packages, in an environment of their own
    servers     PostgreSQL, Restate's server, Kafka's broker
    turn        one peer's turn: its processes, their figures, and their CPU time
    table, plot what came of it

    program     what runs in a peer's process: it does as it is told by lines of JSON
    on_…        the peers, each a program

The programs share nothing with each other or with the command: no process, no library, no garbage collector.
"""
