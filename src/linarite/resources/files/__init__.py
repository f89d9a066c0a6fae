"""Files: what callers bring, import or get made, as rows that name blobs."""
