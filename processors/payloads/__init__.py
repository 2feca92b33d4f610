"""Values on their way: JSON by types, blobs, fingerprints, options and limits of size.

How bytes reach the object store is in `segue.streams.object_store`; records are in `segue.topics`.
"""
