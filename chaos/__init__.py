"""Breaks the real system on purpose, and then proves from its topics that nothing was lost or done twice.

    workload ─▶ tasks ─▶ [ proxy ─▶ broker ]  workers ─▶ ledger      what runs: real processes, real Kafka
                            ▲          ▲         ▲
    faults (from the seed) ─┴──────────┴─────────┘                   what breaks it
    audit: topics (read_committed) + ledger + expected results ─▶ one line of JSON

`workload` says of every task, before it runs, how it must end and how many effects it must have; `app` holds
the workflows and tools, which write each execution to the `ledger`, outside of Segue; `faults` draws what
breaks and when; `run` does it; `audit` and `stores` compare. `docs/chaos.md` has figures, and `planted` shows
that the audit catches the bugs that it is for.
"""
